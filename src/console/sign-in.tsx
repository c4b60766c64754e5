import type { FormEvent } from "react";
import { useEffect, useState } from "react";
import { canKeepKey } from "./device-key.ts";
import type { Way } from "./door.ts";
import { pair, signIn, stopPairing, VERSION, WAYS } from "./door.ts";
import { Logo } from "./logo.tsx";

const NAMES: Readonly<Record<Way, string>> = { token: "Token", password: "Password", device: "This browser" };

export function SignIn({ error, busy }: { readonly error: string | null; readonly busy: boolean }) {
  const [way, setWay] = useState<Way>(WAYS[0] ?? "token");
  return (
    <main className="gate">
      <div className="card">
        <Logo />
        <h1>Sign in to agentbus</h1>
        {WAYS.length > 1 && (
          <div className="segments" role="radiogroup" aria-label="How to sign in">
            {WAYS.map((each) => (
              <label key={each}>
                <input type="radio" name="way" checked={way === each} onChange={() => setWay(each)} />
                <span>{NAMES[each]}</span>
              </label>
            ))}
          </div>
        )}
        {way === "device" ? <DeviceForm busy={busy} /> : <SecretForm key={way} way={way} busy={busy} />}
        <p className="problem" role="alert">
          {error}
        </p>
      </div>
      <p className="foot">
        <a href="/docs">API documentation</a>
        <span>Version {VERSION}</span>
      </p>
    </main>
  );
}

function SecretForm({ way, busy }: { readonly way: "token" | "password"; readonly busy: boolean }) {
  const [secret, setSecret] = useState("");
  function submit(event: FormEvent): void {
    event.preventDefault();
    if (secret.trim() !== "") void signIn(way, way === "token" ? secret.trim() : secret);
  }
  return (
    <form onSubmit={submit}>
      <input type="text" name="username" autoComplete="username" defaultValue="owner" hidden readOnly />
      <label className="field">
        <span>{way === "token" ? "Access token" : "Password"}</span>
        <input
          type="password"
          name={way}
          autoComplete="current-password"
          autoFocus
          required
          value={secret}
          onChange={({ target }) => setSecret(target.value)}
        />
      </label>
      <p className="hint">
        {way === "token" ? (
          <>
            The gateway made one at its first start: it is in the file <code>token</code> of its data
            directory. <code>agentbus token create</code> makes more.
          </>
        ) : (
          "The owner's password, as it was configured."
        )}{" "}
        It is not kept here: this browser gets a login of its own that ends by itself.
      </p>
      <button type="submit" className="primary wide" disabled={busy}>
        {busy ? "Signing in…" : "Sign in"}
      </button>
    </form>
  );
}

function DeviceForm({ busy }: { readonly busy: boolean }) {
  if (!canKeepKey()) {
    return (
      <p className="hint">
        A browser can only keep a key when the page comes over HTTPS or from this machine. Use a token, or
        open the gateway by its https address.
      </p>
    );
  }
  return (
    <div>
      <p className="hint">
        This browser makes a key that never leaves it, and shows a code. Somebody who is signed in already
        approves that code; from then on no secret is needed here.
      </p>
      <button type="button" className="primary wide" disabled={busy} onClick={() => void pair()}>
        {busy ? "Asking…" : "Pair this browser"}
      </button>
    </div>
  );
}

export function PairingView({ code, until }: { readonly code: string; readonly until: number }) {
  const minutes = useMinutesUntil(until);
  return (
    <main className="gate">
      <div className="card">
        <Logo />
        <h1>Waiting for approval</h1>
        <p className="pairing-code" role="status">
          <span className="unseen">The code is </span>
          {code}
        </p>
        <p className="hint">
          Compare this code in a console that is signed in (Gateway, Devices), or on the gateway's machine:
        </p>
        <pre className="command" tabIndex={0}>
          <code>agentbus device approve {code}</code>
        </pre>
        <p className="hint">
          {minutes <= 1 ? "It is good for another minute." : `It is good for ${minutes} more minutes.`}
        </p>
        <button type="button" className="wide" onClick={stopPairing}>
          Cancel
        </button>
      </div>
    </main>
  );
}

function useMinutesUntil(until: number): number {
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 15_000);
    return () => clearInterval(timer);
  }, []);
  return Math.max(0, Math.ceil((until - now) / 60_000));
}
