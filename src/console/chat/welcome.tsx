import { useHome } from "../home-context.ts";

export function Welcome() {
  const { may } = useHome();
  return (
    <div className="welcome">
      <h1>{may("chat.write") ? "What is on your mind?" : "Choose a session"}</h1>
      {!may("chat.write") && <p>You may read here, not write.</p>}
    </div>
  );
}
