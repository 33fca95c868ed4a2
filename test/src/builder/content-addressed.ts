import { prelude } from './derivation-kinds.js';

/** Derivations whose outputs are named by their contents, and what is built on them. `remark` changes how the leaf is made, not what. */
export const contentAddressed = (remark: string) => `let ${prelude}
  ca = script: attrs: sh script ({ __contentAddressed = true; outputHashMode = "recursive"; outputHashAlgo = "sha256"; } // attrs);
  leaf = ca "echo leaf > $out # ${remark}" { name = "leaf"; };
  flat = ca "printf flat > $out" { name = "flat"; outputHashMode = "flat"; };
  middle = ca "mkdir $out; ln -s \${leaf} $out/leaf; echo $out > $out/self; cat \${flat} > $out/flat" { name = "middle"; };
  several = ca "mkdir $out $dev; echo $dev > $out/dev; cat \${middle}/self > $dev/self; echo $out > $out/self" { name = "several"; outputs = [ "out" "dev" ]; };
  deferred = sh "echo \${middle} \${several.dev} > $out" { name = "deferred"; };
  fixed = sh "cat \${leaf} > /dev/null; printf hello > $out" { name = "fixed"; outputHash = "sha256-LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ="; };
  in sh "echo \${deferred} \${several} \${fixed} > $out" { name = "top"; }`;
