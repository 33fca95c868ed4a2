/** What `nix-store --help` prints. */
export const storeHelp = `Usage: nix-store OPERATION [OPTION…] [ARGUMENT…]

Works on the Nix store, with the options and the output of Nix's own nix-store.

Operations:
  --realise, -r PATH…            make paths valid, from caches or by building:
                                 --dry-run, --check, --repair, --ignore-unknown
  --query, -q QUESTION PATH…     --outputs, --requisites (-R), --references, --referrers,
                                 --referrers-closure, --deriver (-d), --binding (-b) NAME, --hash,
                                 --size, --tree, --graph, --graphml, --roots, --resolve;
                                 --use-output (-u), --include-outputs, --force-realise (-f)
  --add PATH…                    add files and trees
  --add-fixed [--recursive] ALGORITHM PATH…
  --print-fixed-path [--recursive] ALGORITHM HASH NAME
  --gc                           delete garbage: --print-roots, --print-live, --print-dead,
                                 --max-freed BYTES
  --delete PATH…                 delete paths that are garbage: --ignore-liveness
  --verify                       check the store: --check-contents, --repair
  --verify-path PATH…, --repair-path PATH…
  --optimise                     keep files with the same contents once
  --read-log, -l PATH…           the log of a build
  --dump PATH, --restore PATH    archives (NAR)
  --export PATH…, --import       paths with what is known of them
  --dump-db [PATH…], --load-db, --register-validity, --check-validity PATH…, --init
  --serve [--write]              the store for ssh:// and nix-copy-closure of another machine
  --print-env DERIVATION         a build's environment, for a shell
  --generate-binary-cache-key NAME SECRET-FILE PUBLIC-FILE

--add-root LINK makes what is realised a root of the garbage collector. All settings of nix.conf are options,
and --option NAME VALUE sets any; -v says more, --quiet less; --store names another store.
`;
