/** How many wrong credentials a bucket takes at once, and what the next ones cost. */
export interface BucketRule {
  /** Wrong ones that cost nothing. */
  readonly burst: number;
  /** One of them is forgotten in so long. */
  readonly refill_ms: number;
  /** The first delay; each further wrong one doubles it, up to the longest. */
  readonly first_ms: number;
  readonly longest_ms: number;
}

/** What wrong credentials have taken out of a bucket. Times are of the monotonic clock. */
export interface Bucket {
  /** At `at`; less with every refill since. */
  readonly spent: number;
  readonly at: number;
  /** Nothing is looked at before this. */
  readonly until: number;
}

/** What is still taken out at `now`. */
export function spentAt({ spent, at }: Bucket, rule: BucketRule, now: number): number {
  return Math.max(0, spent - Math.max(0, now - at) / rule.refill_ms);
}

/** The bucket after one more wrong credential; null: it was full. */
export function afterWrong(bucket: Bucket | null, rule: BucketRule, now: number): Bucket {
  // Past the longest delay more would only take longer to be forgotten.
  const most = rule.burst + Math.ceil(Math.log2(rule.longest_ms / rule.first_ms));
  const spent = Math.min(most, (bucket === null ? 0 : spentAt(bucket, rule, now)) + 1);
  const over = Math.ceil(spent - (rule.burst - 1));
  if (over < 1) return { spent, at: now, until: now };
  const delay = Math.min(rule.longest_ms, rule.first_ms * 2 ** (over - 1));
  return { spent, at: now, until: now + delay };
}

/** How many wrong ones it takes before the first delay: 0 once it is empty. */
export function leftIn(bucket: Bucket | null, rule: BucketRule, now: number): number {
  return bucket === null ? rule.burst : Math.max(0, Math.floor(rule.burst - spentAt(bucket, rule, now)));
}
