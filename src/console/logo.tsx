/** The mark: lines that come together on a bus. */
export function Logo() {
  return (
    <svg className="logo" viewBox="0 0 32 32" aria-hidden="true" focusable="false">
      <rect x="1" y="1" width="30" height="30" rx="8" />
      <path d="M8 10.5h10a4 4 0 0 1 4 4v7M8 16h6a4 4 0 0 1 4 4v1.5M8 21.5h2" />
      <circle cx="22" cy="23" r="1.8" />
    </svg>
  );
}
