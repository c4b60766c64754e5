import { useState } from "react";
import type { ResultFor } from "../../client/methods.ts";
import { useAsked } from "../asked.ts";
import { CopyButton } from "../copy-button.tsx";
import { Dialog } from "../dialog.tsx";
import { useHome } from "../home-context.ts";
import { NewToken } from "./new-token.tsx";
import { Problem } from "./problem.tsx";
import { Table } from "./table.tsx";
import { When } from "./when.tsx";

type Token = ResultFor<"token.list">["tokens"][number];
type Asking = { readonly what: "new" } | { readonly what: "rotate" | "revoke"; readonly token: Token };

export function Tokens() {
  const { client } = useHome();
  const { data, error, again } = useAsked("token.list", {});
  const [asking, setAsking] = useState<Asking | null>(null);
  /** Shown once: the gateway itself keeps only its hash. */
  const [secret, setSecret] = useState<string | null>(null);
  if (data === null) return <Problem error={error} />;

  async function confirm(): Promise<void> {
    if (asking === null || asking.what === "new") return;
    const { token_id } = asking.token;
    if (asking.what === "rotate") setSecret((await client.request("token.rotate", { token_id })).token);
    else await client.request("token.revoke", { token_id });
    again();
  }
  return (
    <>
      <Problem error={error} />
      <div className="bar">
        <p className="hint">A token belongs to a user, and is shown once.</p>
        <button type="button" className="primary" onClick={() => setAsking({ what: "new" })}>
          New token
        </button>
      </div>
      {secret !== null && <Secret secret={secret} onSeen={() => setSecret(null)} />}
      <Table label="Tokens" head={["Name", "User", "Scopes", "Last used", "Ends", ""]}>
        {data.tokens.map((token) => (
          <TokenRow key={token.token_id} token={token} onAsk={setAsking} />
        ))}
      </Table>
      {asking?.what === "new" && (
        <NewToken
          onMade={(made) => {
            setSecret(made);
            again();
          }}
          onClose={() => setAsking(null)}
        />
      )}
      {asking !== null && asking.what !== "new" && (
        <Dialog
          title={
            asking.what === "rotate"
              ? `A new secret for ${asking.token.name}?`
              : `Revoke ${asking.token.name}?`
          }
          action={asking.what === "rotate" ? "Rotate" : "Revoke"}
          danger
          onConfirm={confirm}
          onClose={() => setAsking(null)}
        >
          <p>The old secret stops working at once, and its connections end.</p>
        </Dialog>
      )}
    </>
  );
}

function TokenRow({ token, onAsk }: { readonly token: Token; readonly onAsk: (asking: Asking) => void }) {
  const { name, user, scopes, last_used_at, expires_at } = token;
  return (
    <tr>
      <td title={token.token_id}>{name}</td>
      <td>{user}</td>
      <td className="small">{scopes.join(", ")}</td>
      <td>
        <When ms={last_used_at} />
      </td>
      <td>
        <When ms={expires_at} />
      </td>
      <td className="buttons">
        <button type="button" onClick={() => onAsk({ what: "rotate", token })}>
          Rotate…
        </button>
        <button type="button" onClick={() => onAsk({ what: "revoke", token })}>
          Revoke…
        </button>
      </td>
    </tr>
  );
}

function Secret({ secret, onSeen }: { readonly secret: string; readonly onSeen: () => void }) {
  return (
    <div className="notice" role="status">
      <p>Copy it now: it is not shown again.</p>
      <p className="secret">
        <code>{secret}</code>
        <CopyButton text={secret} label="Copy token" />
        <button type="button" onClick={onSeen}>
          Done
        </button>
      </p>
    </div>
  );
}
