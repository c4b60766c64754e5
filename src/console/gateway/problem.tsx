/** Why something is not here, where that is known. */
export function Problem({ error }: { readonly error: string | null }) {
  return (
    <p className="problem" role="alert">
      {error}
    </p>
  );
}
