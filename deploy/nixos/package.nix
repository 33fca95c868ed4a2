# bin/larder from this source tree, as nixpkgs builds npm packages: the modules come from package-lock.json, each by the
# hash that is in there, so that there is no other hash to keep up to date.
{
  lib,
  buildNpmPackage,
  importNpmLock,
  nodejs_22,
  python3,
  makeWrapper,
}:
let
  source = ../..;
  lock = import ./lock.nix (builtins.fromJSON (builtins.readFile (source + "/package-lock.json")));
  package = builtins.fromJSON (builtins.readFile (source + "/package.json"));
in
buildNpmPackage {
  pname = "larder";
  inherit (package) version;
  src = lib.cleanSource source;

  nodejs = nodejs_22;
  npmDeps = importNpmLock {
    npmRoot = source;
    inherit package;
    packageLock = lock;
  };
  npmConfigHook = importNpmLock.npmConfigHook;

  nativeBuildInputs = [
    python3
    makeWrapper
  ];
  npmFlags = [ "--ignore-scripts" ];
  buildPhase = ''
    runHook preBuild
    npm rebuild --nodedir=${nodejs_22} better-sqlite3 fs-ext zstd-napi
    node_modules/.bin/tsc -b deploy
    node deploy/bundle/make.mjs
    npm prune --omit=dev --ignore-scripts
    runHook postBuild
  '';
  installPhase = ''
    runHook preInstall
    mkdir -p $out/lib/larder $out/bin
    cp -r package.json node_modules $out/lib/larder
    rm -rf $out/lib/larder/node_modules/@larder/test
    for room in signing substituter builder cache-server deploy; do
      mkdir $out/lib/larder/$room
      cp -r $room/package.json $room/dist $out/lib/larder/$room
    done
    cp -r deploy/bin $out/lib/larder/deploy
    # By these the executable would see that its bundle is older than the modules: here all have the same time.
    rm $out/lib/larder/*/dist/.tsbuildinfo
    makeWrapper ${nodejs_22}/bin/node $out/bin/larder --add-flags $out/lib/larder/deploy/bin/larder.js
    runHook postInstall
  '';

  meta = {
    description = "A Nix binary cache";
    license = lib.licenses.mit;
    mainProgram = "larder";
    platforms = lib.platforms.linux;
  };
}
