// biome-ignore-all lint/suspicious/noTemplateCurlyInString: these are programs in Nix, with interpolations of its own
/** What `derivation` is: `derivationStrict`, wrapped so that its outputs are made only when asked for. */
export const derivationSource = `#
#
#
# What \`derivation\` is to programs: a function from a set that describes a build to the set of its outputs.
#
# The argument must have
#
#   name      what the store path is called after its hash
#   system    on what kind of machine it can be built
#   builder   the program that builds it
#
# and may have
#
#   args      the arguments of the builder
#   outputs   the names of what it makes; "out" alone if there is nothing else
#
# and any number of other attributes, which the builder finds in its environment.
#
# The result is the first output. Each output is a set with
#
#   outPath      where it will be
#   drvPath      where the store derivation is
#   type         "derivation", which is how such sets are told from others
#   outputName   which of the outputs it is
#   all          the list of all outputs
#   drvAttrs     the argument
#
# and, under its name, each of the outputs, next to everything the argument had.
#
# The derivation itself is made only when a path is asked for.
#
drvAttrs@{ outputs ? [ "out" ], ... }:

let

  strict = derivationStrict drvAttrs;

  commonAttrs = drvAttrs // (builtins.listToAttrs perOutput) // {
    all = map (output: output.value) perOutput;
    inherit drvAttrs;
  };

  # An output,
  # as a name and a value
  # for listToAttrs.
  makeOutput = outputName: {
    name = outputName;
    value = commonAttrs // {
      outPath = strict.\${outputName};
      drvPath = strict.drvPath;
      type = "derivation";
      inherit outputName;
    };
  };

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
  # Callers of old give a system; it counts for nothing.
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
    inherit name url executable unpack;
    system = "builtin";
    preferLocalBuild = true;
    impureEnvVars = [ "http_proxy" "https_proxy" "ftp_proxy" "all_proxy" "no_proxy" ];
    urls = [ url ];
  }
  // (if impure then { __impure = true; } else { inherit outputHashAlgo outputHash; })
)
`;
