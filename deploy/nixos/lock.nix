# package-lock.json with an address for every module. The lock file leaves them out, so that it holds no registry's name;
# nixpkgs fetches by address, and checks the lock file's hash.
lock:
let
  # node_modules/a/node_modules/@scope/b -> @scope/b
  nameOf = path: builtins.elemAt (builtins.match "(.*/)?node_modules/((@[^/]+/)?[^/]+)" path) 1;
  baseOf = name: builtins.elemAt (builtins.match "(@[^/]+/)?([^/]+)" name) 1;
  addressed =
    path: module:
    if module ? resolved || !(module ? integrity) then
      module
    else
      let
        name = module.name or (nameOf path);
      in
      module
      // {
        resolved = "https://registry.npmjs.org/${name}/-/${baseOf name}-${module.version}.tgz";
      };
in
lock // { packages = builtins.mapAttrs addressed lock.packages; }
