# A derivation that downloads one file, or unpacks one archive.
{
  system ? "",
  url,
  hash ? "",
  md5 ? "",
  sha1 ? "",
  sha256 ? "",
  sha512 ? "",
  outputHash ?
    if hash != "" then
      hash
    else if sha512 != "" then
      sha512
    else if sha1 != "" then
      sha1
    else if md5 != "" then
      md5
    else
      sha256,
  outputHashAlgo ?
    if hash != "" then
      ""
    else if sha512 != "" then
      "sha512"
    else if sha1 != "" then
      "sha1"
    else if md5 != "" then
      "md5"
    else
      "sha256",
  executable ? false,
  unpack ? false,
  name ? baseNameOf (toString url),
  impure ? false,
}:

derivation (
  {
    builder = "builtin:fetchurl";
    system = "builtin";
    outputHashMode = if unpack || executable then "recursive" else "flat";
    # Downloading elsewhere is not faster.
    preferLocalBuild = true;
    impureEnvVars = map (scheme: scheme + "_proxy") [
      "http"
      "https"
      "ftp"
      "all"
      "no"
    ];
    urls = [ url ];
    inherit
      name
      url
      executable
      unpack
      ;
  }
  // (if impure then { __impure = true; } else { inherit outputHash outputHashAlgo; })
)
