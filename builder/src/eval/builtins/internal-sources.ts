/** What `derivation` is: `derivationStrict`, wrapped so that its outputs are made only when asked for. */
export const derivationSource = `drvAttrs@{ outputs ? [ "out" ], ... }:

let

  strict = derivationStrict drvAttrs;

  common = drvAttrs // (builtins.listToAttrs perOutput) // {
    all = map (output: output.value) perOutput;
    inherit drvAttrs;
  };

  makeOutput = outputName: {
    name = outputName;
    value = commonAttrs // {
      outPath = strict.\${outputName};
      drvPath = strict.drvPath;
      type = "derivation";
      inherit outputName;
    };
  };

  commonAttrs = common;
  perOutput = map makeOutput outputs;

in
(builtins.head perOutput).value
`;

/** What importing a \`.drv\` gives: a derivation set made of its name, path and outputs. */
export const importedDerivationSource = `attrs@{ drvPath, outputs, name, ... }:

let

  common = (builtins.listToAttrs perOutput) // {
    all = map (output: output.value) perOutput;
    inherit drvPath name;
    type = "derivation";
  };

  makeOutput = outputName: {
    name = outputName;
    value = common // {
      outPath = builtins.getAttr outputName attrs;
      inherit outputName;
    };
  };

  perOutput = map makeOutput outputs;

in
(builtins.head perOutput).value
`;

/** \`<nix/fetchurl.nix>\`: a derivation that downloads a file with the builder's own means. */
export const fetchurlSource = `{
  system ? "",
  url,
  hash ? "",
  md5 ? "", sha1 ? "", sha256 ? "", sha512 ? "",
  outputHash ? if hash != "" then hash else if sha512 != "" then sha512 else if sha1 != "" then sha1 else if md5 != "" then md5 else sha256,
  outputHashAlgo ? if hash != "" then "" else if sha512 != "" then "sha512" else if sha1 != "" then "sha1" else if md5 != "" then "md5" else "sha256",
  executable ? false,
  unpack ? false,
  name ? baseNameOf (toString url),
  impure ? false,
}:

derivation (
  {
    builder = "builtin:fetchurl";
    outputHashMode = if unpack || executable then "recursive" else "flat";
    inherit name url executable unpack system;
    preferLocalBuild = true;
    impureEnvVars = [ "http_proxy" "https_proxy" "ftp_proxy" "all_proxy" "no_proxy" ];
    urls = [ url ];
  }
  // (if impure then { __impure = true; } else { inherit outputHashAlgo outputHash; })
)
`;
