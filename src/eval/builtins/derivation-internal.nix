/*
  The function `derivation`.

  It takes the attributes of a derivation and gives the set that stands for the
  derivation's first output. For each output there is such a set, and each has
  all of them as attributes. Besides the attributes that it was given, a set has

    outPath      the path of its output
    outputName   the name of its output
    drvPath      the path of the derivation's file
    drvAttrs     the attributes that were given
    all          the sets of all outputs, in the order in which they are listed
    type         "derivation"

  The names of the outputs must be known for the set to exist. Everything else is
  looked at when a path is asked for: only then `derivationStrict` is called, once
  for all outputs together.

  Messages about failures tell places in this text by line and column. Other
  programs that print the same messages tell the same places, therefore the
  function below begins in line 30, and the calls in it stay in their lines.







*/
drvAttrs@{
  outputs ? [ "out" ],
  ...
}:

let

  strict = derivationStrict drvAttrs;

  # What the sets of all outputs have in common.
  commonAttrs =
    let
      each = builtins.listToAttrs outputsList;
      all = map (element: element.value) outputsList;
    in
    drvAttrs // each // { inherit all drvAttrs; };

  outputToAttrListElement = outputName: {
    name = outputName;
    value = commonAttrs // {
      outPath = builtins.getAttr outputName strict;
      drvPath = strict.drvPath;
      type = "derivation";
      inherit outputName;
    };
  };

  outputsList = map outputToAttrListElement outputs;

in
(builtins.head outputsList).value
