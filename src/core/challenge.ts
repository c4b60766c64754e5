/** What one socket is sent for a device to sign. */
export interface Challenge {
  readonly nonce: string;
  /** The gateway it is for, always the same. */
  readonly server_id: string;
  /** Milliseconds since 1970. */
  readonly ts: number;
  /** Whether it is this nonce, in time and for the first time: once asked, it is used up. */
  spend(nonce: string): boolean;
}

/** Makes what devices sign once, so that what they signed is good for nothing else. */
export interface Challenger {
  /** For a socket, which keeps it. */
  forSocket(): Challenge;
  /**
   * For a login over REST, from an address. `expires_at` in milliseconds since 1970.
   * @throws GatewayError RATE_LIMITED {kind:"challenges"}
   */
  issue(address: string): { nonce: string; server_id: string; ts: number; expires_at: number };
  /**
   * Whether it is a nonce that was issued, in time and for the first time. Rejects with a GatewayError UNAVAILABLE
   * where the store does not tell.
   */
  spend(nonce: string): boolean | Promise<boolean>;
}
