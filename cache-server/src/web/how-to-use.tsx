import type { CacheDescription } from '@larder/signing/upload';
import type { FC } from 'hono/jsx';
import { Copy } from './page.js';

/** How to use a cache, ready to copy. */
export const HowToUse: FC<{ cache: CacheDescription }> = ({ cache }) => {
  const { url, publicKeys, name } = cache;
  const { hostname, origin } = new URL(url);
  const keys = publicKeys.join(' ');
  const netrc = cache.public ? '' : 'netrc-file = /etc/nix/netrc\n';
  return (
    <>
      <h2 id="use">How to use it</h2>
      <p class="soft">
        In <code>/etc/nix/nix.conf</code>:
      </p>
      <Copy text={`extra-substituters = ${url}\nextra-trusted-public-keys = ${keys}\n${netrc}`} />
      {!cache.public && <Netrc hostname={hostname} what="It is private: reading it takes a token." />}
      <Way title="NixOS">
        <Copy
          text={`nix.settings = {
  substituters = [ "${url}" ];
  trusted-public-keys = [ ${publicKeys.map((key) => `"${key}"`).join(' ')} ];
};
`}
        />
      </Way>
      <Way title="Once, with nix or larder">
        <Copy text={`nix copy --from ${url} /nix/store/…\n`} />
        <Copy text={`larder copy --from ${url} --to auto /nix/store/…\n`} />
      </Way>
      <Way title="Publish to it">
        <p class="soft">
          This takes a token with the scope <code>push</code>, as a file or as the password in the netrc file:
        </p>
        <Copy text={`larder push ${url} --token-file token ./result\n`} />
        <Copy text={`nix copy --to ${url} ./result\n`} />
        {cache.public && <Netrc hostname={hostname} what="" />}
        <p class="soft">Who may make tokens makes one with:</p>
        <Copy text={`larder token create ci --cache ${name} --scope pull,push --server ${origin}\n`} />
      </Way>
      <Way title="In a GitHub workflow">
        <Copy
          text={`- uses: OWNER/larder/deploy/github-action@main
  with: { cache: "${url}", token: "\${{ secrets.LARDER_TOKEN }}" }
- run: nix build
- uses: OWNER/larder/deploy/github-action@main
  with: { mode: push, cache: "${url}" }
`}
        />
      </Way>
    </>
  );
};

const Way: FC<{ title: string; children?: unknown }> = ({ title, children }) => (
  <details class="way">
    <summary>{title}</summary>
    <div>{children as string}</div>
  </details>
);

const Netrc: FC<{ hostname: string; what: string }> = ({ hostname, what }) => (
  <>
    <p class="soft">
      {what} In <code>/etc/nix/netrc</code>:
    </p>
    <Copy text={`machine ${hostname}\nlogin larder\npassword TOKEN\n`} />
  </>
);
