# Not what anybody wants to know: a program that uses what programs use, for V8 to keep the compiled form of.
let
  lib = import ../example/lib;
  inherit (builtins)
    attrNames
    concatStringsSep
    elem
    filter
    foldl'
    fromJSON
    genList
    isAttrs
    listToAttrs
    map
    mapAttrs
    match
    replaceStrings
    sort
    split
    substring
    toJSON
    ;
  base =
    { lib, config, ... }:
    {
      options = {
        services = lib.mkOption {
          default = { };
          type = lib.types.attrsOf (
            lib.types.submodule {
              options.enable = lib.mkEnableOption "it";
              options.port = lib.mkOption { type = lib.types.port; };
              options.text = lib.mkOption {
                type = lib.types.lines;
                default = "";
              };
            }
          );
        };
        packages = lib.mkOption {
          type = lib.types.listOf lib.types.package;
          default = [ ];
        };
      };
      config.packages = lib.mkIf (config.services != { }) [ (package 1) ];
    };
  service = number: {
    services."s${toString number}" = {
      enable = lib.mkDefault true;
      port = 1000 + number;
      text = lib.mkBefore ''
        listen ${toString number}
          and more
      '';
    };
  };
  evaluated = lib.evalModules { modules = [ base ] ++ genList service 4; };
  package =
    number:
    derivation (
      {
        name = "package-${toString number}";
        system = "x86_64-linux";
        builder = "/bin/sh";
        args = [
          "-c"
          ''echo "$text" > $out''
        ];
        text = toJSON evaluated.config.services;
        outputs = [
          "out"
          "dev"
        ];
        source = ./sessions.mjs;
      }
      // (if number > 0 then { inputs = map package (genList (n: number - 1 - n) number); } else { })
    );
  fixed = derivation {
    name = "fixed";
    system = "builtin";
    builder = "builtin:fetchurl";
    url = "https://example.org";
    outputHashMode = "flat";
    outputHashAlgo = "sha256";
    outputHash = "0000000000000000000000000000000000000000000000000000";
  };
  structured = derivation {
    __structuredAttrs = true;
    name = "structured";
    system = "x86_64-linux";
    builder = "/bin/sh";
    list = [
      1
      2.5
      true
      null
      fixed
    ];
  };
  fibonacci = n: if n < 2 then n else fibonacci (n - 1) + fibonacci (n - 2);
in
{
  inherit structured;
  system = package 3;
  values = {
    numbers = foldl' (a: b: a + b) 0 (filter (n: n > 3) (genList fibonacci 10));
    names = sort (a: b: a < b) (
      attrNames (mapAttrs (name: value: "${name}-${toString value}") { b = 1; a = 2; } // { c = 3; })
    );
    text = concatStringsSep "," (map (substring 0 2) [ "abc" "def" ]);
    replaced = replaceStrings [ "a" ] [ "b" ] "banana";
    matched = match "([a-z]+)-([0-9]+)" "abc-12";
    parts = split "," "a,b";
    json = fromJSON ''{"a": [1, 2.5, null, true, "x"]}'';
    set = listToAttrs [
      {
        name = "a";
        value = elem 1 [ 1 ] && !isAttrs [ ];
      }
    ];
    path = builtins.baseNameOf ./training.nix;
    tried = builtins.tryEval (throw "no");
    pipes = with { x = 1; }; assert x == 1; { inherit x; y.z = x; }.y.z or 2;
  };
}
