# What importing the file of a derivation gives: the set of its first output.
{
  drvPath,
  name,
  outputNames,
  outputPaths,
}:
let
  byName = builtins.listToAttrs (
    map (outputName: {
      name = outputName;
      value = common // {
        inherit outputName;
        outPath = builtins.getAttr outputName outputPaths;
      };
    }) outputNames
  );
  common = byName // {
    inherit drvPath name;
    type = "derivation";
    all = map (outputName: builtins.getAttr outputName byName) outputNames;
  };
in
builtins.getAttr (builtins.head outputNames) byName
