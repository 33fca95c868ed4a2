// biome-ignore-all lint/suspicious/noTemplateCurlyInString: these are programs in Nix, with interpolations of its own
import { mkdir, writeFile } from 'node:fs/promises';

/** Fixed points, overlays and the few functions on sets that every package set is made with. */
const library = `rec {
  fix = f: let x = f x; in x;
  extends = overlay: f: final: let prev = f final; in prev // overlay final prev;
  optional = cond: item: if cond then [ item ] else [ ];
  optionalString = cond: text: if cond then text else "";
  filterAttrs = keep: set: removeAttrs set (builtins.filter (name: !keep name set.\${name}) (builtins.attrNames set));
  concatMapStringsSep = sep: f: list: builtins.concatStringsSep sep (map f list);
  getOutput = output: pkg: if pkg ? \${output} then pkg.\${output} else pkg.out or pkg;
  makeOverridable = f: args:
    let
      result = f args;
      overrideWith = changes: args // (if builtins.isFunction changes then changes args else changes);
    in
    if builtins.isAttrs result then
      result // {
        override = changes: makeOverridable f (overrideWith changes);
        overrideAttrs = change: makeOverridable (all: (f all).overrideAttrs change) args;
      }
    else result;
  callPackageWith = auto: path: args:
    let f = if builtins.isFunction path then path else import path;
    in makeOverridable f (builtins.intersectAttrs (builtins.functionArgs f) auto // args);
}
`;

/** A builder's environment as large as real ones: phases as text, inputs split by kind, checks on what is given. */
const mkDerivation = `{ lib, shell, stage }:
let
  hookText = lib.concatMapStringsSep "\\n" (n: "addEnvHook hook\${toString n} \${stage}-\${toString n}") (builtins.genList (n: n) 40);
  checked = name: list: map (each:
    if each == null || builtins.isAttrs each || builtins.isString each then each
    else throw "\${name}: not a dependency") list;
  make = attrs:
    let
      name = attrs.name or "\${attrs.pname}-\${attrs.version}";
      outputs = attrs.outputs or [ "out" ];
      inputs = kind: builtins.filter (each: each != null) (checked name (attrs.\${kind} or [ ]));
      dev = map (lib.getOutput "dev");
      env = removeAttrs attrs [ "meta" "passthru" "pname" "version" ] // {
        inherit name outputs shell;
        system = "x86_64-linux";
        builder = shell;
        args = [ "-e" (attrs.builder or ./builder.sh) ];
        nativeBuildInputs = dev (inputs "nativeBuildInputs");
        buildInputs = dev (inputs "buildInputs");
        propagatedBuildInputs = dev (inputs "propagatedBuildInputs");
        setupHook = hookText;
        configureFlags = attrs.configureFlags or [ ] ++ lib.optional (attrs.static or false) "--disable-shared";
        doCheck = attrs.doCheck or false;
        strictDeps = attrs.strictDeps or false;
        buildPhase = attrs.buildPhase or ''
          runHook preBuild
          make -j$NIX_BUILD_CORES \${toString (attrs.makeFlags or [ ])}
          runHook postBuild
        '';
        installPhase = attrs.installPhase or ''
          runHook preInstall
          make install \${lib.optionalString (builtins.length outputs > 1) "devdir=$dev"}
          runHook postInstall
        '';
      };
      drv = derivation (lib.filterAttrs (_: value: value != null) env);
    in
    drv // {
      inherit (attrs) meta;
      passthru = attrs.passthru or { };
      overrideAttrs = change: make (attrs // change attrs);
    };
in
make
`;

function packageFile(index: number, dependencies: readonly number[]): string {
  const names = dependencies.map((each) => `p${each}`);
  const outputs = index % 3 === 0 ? 'outputs = [ "out" "dev" ];' : '';
  const digest = index.toString(16).padStart(64, '0');
  return `{ lib, mkDerivation, fetch, ${names.map((name) => `${name}, `).join('')}withDocs ? ${index % 4 === 0}, debug ? false }:
mkDerivation rec {
  pname = "package${index}";
  version = "${(index % 9) + 1}.\${toString ${index}}";
  ${outputs}
  src = fetch { url = "https://example.org/\${pname}-\${version}.tar.gz"; sha256 = "${digest}"; };
  nativeBuildInputs = [ ${names.slice(0, 2).join(' ')} ];
  buildInputs = [ ${names.slice(2).join(' ')} ] ++ lib.optional withDocs ${names[0] ?? 'null'};
  configureFlags = [ "--prefix=\${placeholder "out"}" (lib.optionalString debug "--debug") ] ++ map (n: "--with-\${n}") [ ${names.map((name) => `"${name}"`).join(' ')} ];
  patchPhase = ''
    substituteInPlace configure --replace /usr \${placeholder "out"}
    ${names.map((name) => `echo \${${name}}/bin >> path`).join('\n    ')}
  '';
  meta = { description = "Package ${index}"; platforms = [ "x86_64-linux" ]; };
}
`;
}

function setFile(count: number): string {
  const entries = Array.from({ length: count }, (_, i) => `      p${i} = callPackage ./pkgs/p${i}.nix { };`);
  return `{ overlays ? [ ] }:
let
  lib = import ./lib.nix;
  shell = "/bin/sh";
  base = final:
    let callPackage = lib.callPackageWith final; in {
      inherit lib callPackage;
      mkDerivation = import ./make-derivation.nix { inherit lib shell; stage = "final"; };
      fetch = { url, sha256 }: derivation {
        name = baseNameOf url; system = "x86_64-linux"; builder = "builtin:fetchurl";
        inherit url; outputHash = sha256; outputHashAlgo = "sha256"; outputHashMode = "flat"; preferLocalBuild = true;
      };
${entries.join('\n')}
    };
  tuned = final: prev: {
    p1 = prev.p1.override { debug = true; };
    p2 = prev.p2.overrideAttrs (old: { makeFlags = [ "V=1" ]; });
  };
in
lib.fix (builtins.foldl' (f: overlay: lib.extends overlay f) base ([ tuned ] ++ overlays))
`;
}

/**
 * Writes a package set: `count` packages in files of their own, each with a source and up to six dependencies among
 * those before it. The attribute `p<count - 1>` needs all but a few of them.
 */
export async function writePackageSet(directory: string, count: number): Promise<void> {
  await mkdir(`${directory}/pkgs`, { recursive: true });
  await writeFile(`${directory}/lib.nix`, library);
  await writeFile(`${directory}/make-derivation.nix`, mkDerivation);
  await writeFile(`${directory}/builder.sh`, 'source $stdenv/setup\ngenericBuild\n');
  await writeFile(`${directory}/default.nix`, setFile(count));
  for (let index = 0; index < count; index++) {
    const dependencies = [1, 2, 3, 7, 20, 50].map((back) => index - back).filter((each) => each >= 0);
    await writeFile(`${directory}/pkgs/p${index}.nix`, packageFile(index, dependencies));
  }
}
