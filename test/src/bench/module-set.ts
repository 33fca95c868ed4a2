// biome-ignore-all lint/suspicious/noTemplateCurlyInString: these are programs in Nix, with interpolations of its own
import { cp, mkdir, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

const exampleLibrary = fileURLToPath(new URL('../../../deploy/example/lib', import.meta.url));

function moduleFile(index: number): string {
  // Another service than itself gets one of its settings from here.
  const other = index === 0 ? 1 : Math.floor(index / 2);
  return `{ lib, config, ... }:
let
  cfg = config.services.s${index};
  inherit (lib) mkOption types;
in
{
  options.services.s${index} = {
    enable = lib.mkEnableOption "service ${index}";
    port = mkOption { type = types.port; default = ${1024 + index}; description = "The port."; };
    user = mkOption { type = types.str; default = "s${index}"; description = "Who runs it."; };
    flags = mkOption { type = types.listOf types.str; default = [ ]; description = "More arguments."; };
    extraConfig = mkOption { type = types.lines; default = ""; description = "More lines of its configuration."; };
    limits = mkOption { type = types.attrsOf types.int; default = { }; description = "Limits by name."; };
    hosts = mkOption {
      default = { };
      description = "Virtual hosts.";
      type = types.attrsOf (types.submodule {
        options.root = mkOption { type = types.str; description = "Where its files are."; };
        options.aliases = mkOption { type = types.listOf types.str; default = [ ]; description = "Other names."; };
        options.ssl = lib.mkEnableOption "TLS";
      });
    };
  };
  config = lib.mkIf cfg.enable {
    services.s${other}.flags = [ "--peer=s${index}:\${toString cfg.port}" ];
    services.s${index} = {
      flags = lib.mkBefore [ "--verbose" ];
      limits = { files = ${index}; memory = lib.mkDefault 512; };
      extraConfig = "listen \${toString cfg.port}";
      hosts."h${index}.example.org" = { root = "/srv/\${cfg.user}"; aliases = [ "www.h${index}.example.org" ]; ssl = true; };
    };
    users.\${cfg.user}.uid = ${1000 + index};
    etc."s${index}.conf".text = ''
      user \${cfg.user}
      \${cfg.extraConfig}
      flags \${builtins.concatStringsSep " " cfg.flags}
      \${lib.concatLines (lib.mapAttrsToList (name: value: "limit \${name} \${toString value}") cfg.limits)}
      \${lib.concatLines (lib.mapAttrsToList (name: host: "host \${name} \${host.root} \${toString host.aliases}") cfg.hosts)}
    '';
  };
}
`;
}

const baseModule = `{ lib, config, ... }:
let
  inherit (lib) mkOption types;
  write = name: text: derivation {
    inherit name text; system = "x86_64-linux"; builder = "/bin/sh"; passAsFile = [ "text" ];
    args = [ "-c" "cp $textPath $out" ];
  };
in
{
  options = {
    etc = mkOption {
      default = { }; description = "Files below /etc.";
      type = types.attrsOf (types.submodule { options.text = mkOption { type = types.lines; description = "Contents."; }; });
    };
    users = mkOption {
      default = { }; description = "Users by name.";
      type = types.attrsOf (types.submodule {
        options.uid = mkOption { type = types.int; description = "Number."; };
        options.shell = mkOption { type = types.str; default = "/bin/sh"; description = "Login shell."; };
      });
    };
    toplevel = mkOption { type = types.package; description = "The whole."; };
  };
  config.toplevel = derivation {
    name = "toplevel"; system = "x86_64-linux"; builder = "/bin/sh";
    etc = lib.mapAttrsToList (name: file: write (builtins.replaceStrings [ "/" ] [ "-" ] name) file.text) config.etc;
    passwd = write "passwd" (lib.concatLines (lib.mapAttrsToList
      (name: user: "\${name}:x:\${toString user.uid}:\${user.shell}") config.users));
  };
}
`;

/** Writes a configuration of `count` modules and some more, of which two in three are enabled; its attribute is `toplevel`. */
export async function writeModuleSet(directory: string, count: number): Promise<void> {
  await mkdir(`${directory}/modules`, { recursive: true });
  await cp(exampleLibrary, `${directory}/lib`, { recursive: true });
  await writeFile(`${directory}/base.nix`, baseModule);
  const indices = Array.from({ length: count }, (_, index) => index);
  for (const index of indices) await writeFile(`${directory}/modules/s${index}.nix`, moduleFile(index));
  const enabled = indices
    .filter((index) => index % 3 !== 1)
    .map((index) => `  services.s${index}.enable = true;`);
  await writeFile(`${directory}/configuration.nix`, `{ lib, ... }: {\n${enabled.join('\n')}\n}\n`);
  const files = indices.map((index) => `./modules/s${index}.nix`).join(' ');
  await writeFile(
    `${directory}/default.nix`,
    `let lib = import ./lib; in (lib.evalModules {
  modules = [ ./base.nix ./configuration.nix ${files} ];
  specialArgs = { inherit lib; };
}).config\n`,
  );
}
