import { door, open } from "./door.ts";
import { Home } from "./home.tsx";
import { PairingView, SignIn } from "./sign-in.tsx";
import { useStore } from "./store.ts";

export function App() {
  const state = useStore(door);
  switch (state.at) {
    case "trying":
      return <Trying error={state.error} />;
    case "closed":
      return <SignIn error={state.error} busy={state.busy} />;
    case "elsewhere":
      return <Elsewhere was={state.was} user={state.user} />;
    case "pairing":
      return <PairingView code={state.code} until={state.until} />;
    case "in":
      return <Home client={state.client} hello={state.hello} link={state.link} />;
  }
}

function Elsewhere({ was, user }: { readonly was: string; readonly user: string }) {
  return (
    <main className="gate">
      <p role="alert">
        Another tab of this browser has signed in as <strong>{user}</strong>. This tab was of{" "}
        <strong>{was}</strong>, so it has stopped: nothing is sent from here any more.
      </p>
      <button type="button" className="primary" onClick={() => void open()}>
        Go on as {user}
      </button>
    </main>
  );
}

function Trying({ error }: { readonly error: string | null }) {
  return (
    <main className="gate">
      <p className="splash" role="status">
        {error === null ? "agentbus" : "The gateway does not answer. Trying again…"}
      </p>
    </main>
  );
}
