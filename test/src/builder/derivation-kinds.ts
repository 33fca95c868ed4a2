// biome-ignore-all lint/suspicious/noTemplateCurlyInString: these are placeholders of the Nix language
/** A derivation to build with stock Nix and with Larder, as a Nix expression over the bindings of `prelude`. */
export interface DerivationKind {
  readonly expression: string;
  readonly succeeds: boolean;
  /** Settings for both, over the common ones. */
  readonly settings?: Readonly<Record<string, string>>;
}

/** `sh SCRIPT ATTRIBUTES` makes a derivation that runs a script with the host's shell and tools. */
export const prelude = `
  sh = script: attrs: derivation ({
    name = "kind"; system = "x86_64-linux"; builder = "/bin/sh"; PATH = "/usr/bin:/bin"; args = [ "-ec" script ];
  } // attrs);
  bash = script: attrs: sh script ({ builder = "/bin/bash"; } // attrs);
  dep = sh "mkdir $out; echo dependency > $out/file" { name = "dep"; };
  other = sh "echo unused > $out" { name = "other"; };
  above = sh "mkdir $out; ln -s \${dep} $out/dep" { name = "above"; };
  text = builtins.toFile "text.txt" "some text";
`;

const good = (expression: string, settings?: DerivationKind['settings']): DerivationKind => ({
  expression,
  succeeds: true,
  settings,
});
const bad = (expression: string, settings?: DerivationKind['settings']): DerivationKind => ({
  expression,
  succeeds: false,
  settings,
});

/** `URL` stands for a local HTTP server that has `file`, `file.nar.xz` and `channel.tar.gz`, with hashes `…_HASH`. */
export const derivationKinds: Readonly<Record<string, DerivationKind>> = {
  'a file': good('sh "echo hello > $out" {}'),
  'an empty file': good('sh ": > $out" {}'),
  'an empty directory': good('sh "mkdir $out" {}'),
  'a link alone': good('sh "ln -s /nowhere $out" {}'),
  'a tree with odd modes and times': good(`sh ''
    mkdir -p $out/bin $out/share/deep/er; echo "#!/bin/sh" > $out/bin/run; chmod 750 $out/bin/run
    echo data > $out/share/data; chmod 600 $out/share/data; touch -d 1999-01-01 $out/share/data
    ln -s ../share/data $out/bin/link; ln -s dangling $out/bin/dangling; chmod 500 $out/share/deep
  '' {}`),
  'hard links': good('sh "mkdir $out; echo x > $out/a; ln $out/a $out/b; ln $out/a $out/c" {}'),
  'a large sparse file': good('sh "truncate -s 40M $out; echo end >> $out" {}'),
  'names beyond ASCII': good(
    `sh ''mkdir $out; echo ü > "$out/grün"; printf 'x' > "$out/$(printf '\\377')"'' {}`,
  ),
  'several outputs that refer to each other': good(`sh ''
    mkdir $out $dev $doc; echo $dev > $out/dev; echo $out > $doc/out; echo own > $dev/file
  '' { outputs = [ "out" "dev" "doc" ]; }`),
  'outputs in a cycle': bad('sh "echo $b > $a; echo $a > $b" { outputs = [ "a" "b" ]; }'),
  'a reference to itself': good('sh "mkdir $out; echo $out > $out/self" {}'),
  'an input of which only a part is kept': good(
    'sh "cat ${text} > $out; echo ${above} >> $out" { inherit other; src = text; }',
  ),
  'a closure as input': good('sh "cat ${above}/dep/file > $out; ls $NIX_STORE >> $out" {}'),
  'a file and a link as inputs': good(
    'let link = sh "ln -s ${dep}/file $out" { name = "link"; }; in sh "cat ${link} ${other} > $out; readlink ${link} >> $out" {}',
  ),
  'compiled C': good(`sh ''
    cp \${builtins.toFile "main.c" "#include <stdio.h>\\nint main(void) { printf(\\"hello %s\\\\n\\", DIR); return 0; }"} main.c
    gcc -g -O2 -DDIR="\\"$out\\"" main.c -o main; mkdir -p $out/bin; cp main $out/bin/
  '' {}`),
  'its environment': good(
    'bash "env > $out; pwd >> $out; umask >> $out; hostname >> $out; id >> $out" { a = "ü"; HOME = "/own"; }',
  ),
  'its surroundings': good(`bash ''
    ls -A / > $out; ls -A /etc /tmp /build "$NIX_STORE" >> $out; cat /etc/passwd /etc/group /etc/hosts >> $out
    ip -o address >> $out; cat /proc/self/personality >> $out; cat /proc/sys/kernel/domainname >> $out; ulimit -c >> $out
    grep -e NoNewPrivs -e CapEff /proc/self/status >> $out; ls /proc/self/fd | wc -l >> $out; ls /dev | grep -v core >> $out
  '' {}`),
  'its arguments': good(
    'derivation { name = "arguments"; system = "x86_64-linux"; builder = "/bin/bash"; args = [ "-c" "echo \\"$BASH $0 $# $*\\" > $out; read -rd \\"\\" name < /proc/self/cmdline; echo $name >> $out" "zero" "one" "two words" "" "ü" ]; }',
  ),
  'attributes as files': good(
    'bash "cat $longPath $otherPath > $out; basename $longPath >> $out; ls -A >> $out" { passAsFile = [ "long" "other" ]; long = "long text"; other = "$out"; }',
  ),
  'structured attributes': good(`derivation {
    name = "structured"; system = "x86_64-linux"; builder = "/bin/bash"; __structuredAttrs = true;
    args = [ "-c" "export PATH=/usr/bin:/bin; . ./.attrs.sh; mkdir \${"$"}{outputs[out]}; cp .attrs.sh .attrs.json \${"$"}{outputs[out]}/; echo \${"$"}{outputs[dev]} > \${"$"}{outputs[dev]}" ];
    outputs = [ "out" "dev" ]; list = [ 1 "two words" null true ]; set = { a = 1; "b c" = "it's"; }; nested = { deep = [ { } ]; };
    float = 1.5; whole = 2.0; tiny = 1.0e-9; large = 1.0e20; negative = -3; yes = true; no = false; nothing = null;
    "not a name" = 1; unicode = "grün 日本 😀"; escapes = "\\t\\n\\"\\\\"; path = text; dependency = dep;
  }`),
  'an exported graph': good(
    'sh "cp graph $out; cat graph2 >> $out" { exportReferencesGraph = [ "graph" above "graph2" text ]; }',
  ),
  'an exported graph of a derivation': good(
    'sh "cp graph $out" { exportReferencesGraph = [ "graph" above.drvPath ]; }',
  ),
  'an exported graph in structured attributes': good(`derivation {
    name = "structured-graph"; system = "x86_64-linux"; builder = "/bin/bash"; __structuredAttrs = true;
    args = [ "-c" "export PATH=/usr/bin:/bin; . ./.attrs.sh; cp .attrs.json \${"$"}{outputs[out]}" ]; exportReferencesGraph.graph = [ above ];
  }`),
  'an exported graph of no input': bad(
    'sh "cp graph $out" { exportReferencesGraph = [ "graph" (builtins.unsafeDiscardStringContext "${above}") ]; }',
  ),
  'a fixed flat output': good(
    'sh "printf hello > $out" { outputHash = "sha256-LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ="; }',
  ),
  'a fixed output by sha1, recursive': good(
    'sh "mkdir $out; printf x > $out/x" { outputHashMode = "recursive"; outputHashAlgo = "sha1"; outputHash = "SHA1_TREE"; }',
  ),
  'a fixed output with another hash': bad(
    'sh "printf other > $out" { name = "fixed-1"; outputHash = "sha256-LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ="; }',
  ),
  'a fixed flat output that is executable': bad(
    'sh "printf hello > $out; chmod +x $out" { name = "fixed-2"; outputHash = "sha256-LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ="; }',
  ),
  'a fixed flat output that is a directory': bad(
    'sh "mkdir $out" { name = "fixed-3"; outputHash = "sha256-LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ="; }',
  ),
  'a fixed output with the network': good(
    'bash "exec 3<>/dev/tcp/127.0.0.1/PORT; printf \'GET /file HTTP/1.0\\\\r\\\\n\\\\r\\\\n\' >&3; sed \'1,/^.$/d\' <&3 > $out; ls /etc | grep -c -e resolv -e nsswitch" { outputHashAlgo = "sha256"; outputHash = "FILE_HASH"; }',
  ),
  'an ordinary one without the network': bad('bash "exec 3<>/dev/tcp/127.0.0.1/PORT; echo > $out" {}'),
  'variables of the caller in a fixed output': good(
    'sh "printf %s \\"$KIND_VARIABLE$NIX_OUTPUT_CHECKED\\" > $out" { impureEnvVars = [ "KIND_VARIABLE" ]; outputHash = "sha256-n6pd5/4TQg1FplbOVLDnIUe1vsmcmCy/jiP9bVo9QOo="; }',
  ),
  'allowed references': good(
    'sh "echo ${dep} > $out" { allowedReferences = [ dep ]; disallowedReferences = [ other ]; inherit other; }',
  ),
  'a reference that is not allowed': bad('sh "echo ${dep} > $out" { allowedReferences = [ ]; }'),
  'a reference that is disallowed': bad('sh "echo ${dep} > $out" { disallowedReferences = [ dep ]; }'),
  'requisites that are allowed': good(
    'sh "echo ${above} $out > $out" { allowedRequisites = [ above dep ]; }',
  ),
  'a requisite that is not allowed': bad('sh "echo ${above} > $out" { allowedRequisites = [ above ]; }'),
  'a requisite that is disallowed': bad('sh "echo ${above} > $out" { disallowedRequisites = [ dep ]; }'),
  'an output that may name another': good(
    'sh "echo $dev > $out; echo > $dev" { outputs = [ "out" "dev" ]; allowedReferences = [ "dev" ]; }',
  ),
  'checks of single outputs': good(`derivation {
    name = "checked"; system = "x86_64-linux"; builder = "/bin/bash"; __structuredAttrs = true; outputs = [ "out" "dev" ];
    args = [ "-c" ". ./.attrs.sh; echo \${"$"}{outputs[dev]} > \${"$"}{outputs[out]}; echo > \${"$"}{outputs[dev]}" ];
    outputChecks.out = { allowedReferences = [ "dev" ]; maxSize = 1000; maxClosureSize = 10000; }; outputChecks.dev.allowedRequisites = [ "dev" ];
  }`),
  'an output that is too large': bad(`derivation {
    name = "too-large"; system = "x86_64-linux"; builder = "/bin/bash"; __structuredAttrs = true;
    args = [ "-c" ". ./.attrs.sh; echo too much > \${"$"}{outputs[out]}" ]; outputChecks.out.maxSize = 10;
  }`),
  'one that fails': bad('sh "echo about to fail; exit 3" {}'),
  'one that needs a failed one': bad('sh "echo ${sh "exit 1" { name = "fails"; }} > $out" {}'),
  'one that makes nothing': bad('sh ":" {}'),
  'one that makes only a part': bad('sh "echo > $out" { outputs = [ "out" "dev" ]; }'),
  'one that hangs': bad('sh "sleep 60; echo > $out" {}', { timeout: '2' }),
  'one that falls silent': bad('sh "echo a; sleep 60; echo > $out" {}', { 'max-silent-time': '2' }),
  'one that talks without end': bad('sh "while :; do echo line; done" {}', { 'max-build-log-size': '10000' }),
  'one that leaves a process behind': good(
    'bash "(trap : HUP; sleep 60; echo late > $out) & echo early > $out" {}',
  ),
  'one that is killed': bad('bash "bash -c \'kill -9 $$\'; echo > $out" {}'),
  'one whose builder is not there': bad(
    'derivation { name = "no-builder"; system = "x86_64-linux"; builder = "/no/builder"; }',
  ),
  'one whose builder is in the store': good(
    'derivation { name = "own-builder"; system = "x86_64-linux"; builder = sh "cp /bin/bash $out" { name = "builder"; }; args = [ "-c" "echo $0 $BASH > $out" ]; }',
  ),
  'one for another system': bad('sh "echo > $out" { system = "riscv64-linux"; }'),
  'one that needs what the machine lacks': bad(
    'sh "echo > $out" { requiredSystemFeatures = [ "moonlight" ]; }',
  ),
  'one that needs what the machine has': good(
    'sh "echo > $out" { requiredSystemFeatures = [ "big-parallel" ]; }',
  ),
  'an output open to others': bad('sh "mkdir $out; chmod 777 $out" {}'),
  'a pipe as output': bad('sh "mkdir $out; mkfifo $out/pipe" {}'),
  'setuid bits': bad('sh "echo > $out; chmod u+s $out" {}'),
  'standard files by name': good(
    'bash "echo to-stderr > /dev/stderr; echo to-stdout > /dev/stdout; echo > $out; echo x > /dev/shm/x; echo y > /tmp/y" {}',
  ),
  'built-in fetchurl': good('import <nix/fetchurl.nix> { url = "URL/file"; sha256 = "FILE_HASH"; }'),
  'built-in fetchurl of an executable': good(
    'import <nix/fetchurl.nix> { url = "URL/file"; sha256 = "FILE_EXECUTABLE_HASH"; executable = true; }',
  ),
  'built-in fetchurl that unpacks': good(
    'import <nix/fetchurl.nix> { url = "URL/file.nar.xz"; sha256 = "TREE_HASH"; unpack = true; }',
  ),
  'built-in fetchurl with another hash': bad(
    'import <nix/fetchurl.nix> { url = "URL/file"; sha256 = "TREE_HASH"; }',
  ),
  'built-in fetchurl of what is not there': bad(
    'import <nix/fetchurl.nix> { url = "URL/absent"; sha256 = "FILE_HASH"; }',
  ),
  'built-in buildenv': good(`let
    tools = sh "mkdir -p $out/bin $out/share/doc $out/nix-support; echo a > $out/bin/a; echo b > $out/bin/both; echo d > $out/share/doc/d; echo \${extra} > $out/nix-support/propagated-user-env-packages; ln -s nowhere $out/bin/dangling; echo h > $out/.hidden" { name = "tools"; };
    extra = sh "mkdir -p $out/share/extra $out/share/doc; echo e > $out/share/extra/e" { name = "extra"; };
    more = sh "mkdir -p $out/bin $out/lib; echo c > $out/bin/c; echo b2 > $out/bin/both; ln -s bin $out/share" { name = "more"; };
  in derivation { name = "env"; system = "builtin"; builder = "builtin:buildenv"; manifest = text; derivations = [ "true" "5" "1" tools "true" "7" "1" more "false" "5" "1" other ]; }`),
  'built-in buildenv with a clash': bad(`let
    one = sh "mkdir -p $out/bin; echo a > $out/bin/a" { name = "one"; };
    two = sh "mkdir -p $out/bin; echo b > $out/bin/a" { name = "two"; };
  in derivation { name = "env"; system = "builtin"; builder = "builtin:buildenv"; manifest = text; derivations = [ "true" "5" "1" one "true" "5" "1" two ]; }`),
  'built-in unpack-channel': good(
    'derivation { name = "channel"; system = "builtin"; builder = "builtin:unpack-channel"; channelName = "pkgs"; src = import <nix/fetchurl.nix> { url = "URL/channel.tar.gz"; sha256 = "CHANNEL_HASH"; }; }',
  ),
  'an unknown built-in': bad(
    'derivation { name = "unknown"; system = "builtin"; builder = "builtin:unknown"; }',
  ),
};
