import { door } from "./door.ts";
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
    case "pairing":
      return <PairingView code={state.code} until={state.until} />;
    case "in":
      return <Home client={state.client} hello={state.hello} link={state.link} />;
  }
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
