import { SCOPES } from "../../src/protocol/schema.ts";

/** What can be asked of a gateway, as it says itself. */
export interface Surface {
  readonly methods: readonly { readonly name: string; readonly scope: string | null }[];
  /** "GET /api/v1/sessions/:id" */
  readonly routes: readonly string[];
}

/** What the matrix of access knows. */
export interface Covered {
  /** Methods that have a case. */
  readonly methods: readonly string[];
  /** Those of them that any credential may call. */
  readonly anybody: readonly string[];
  /** Routes with a case, and the method whose scope each of them needs. */
  readonly routes: Readonly<Record<string, { readonly method: string }>>;
  /** Routes that need no credential. */
  readonly open: readonly string[];
}

/** What of the surface could be open without a test that knows of it; none where everything is known. */
export function gaps(surface: Surface, covered: Covered): string[] {
  return [...methodGaps(surface, covered), ...routeGaps(surface, covered)];
}

function methodGaps({ methods }: Surface, { methods: cases, anybody }: Covered): string[] {
  const names = methods.map(({ name }) => name);
  return [
    ...methods.flatMap(({ name, scope }) => {
      if (scope === null) return anybody.includes(name) ? [] : [`${name} needs no scope`];
      if (anybody.includes(name)) return [`${name} needs ${scope} and is said to need none`];
      return SCOPES.some((each) => each === scope) ? [] : [`${name} needs ${scope}, which is no scope`];
    }),
    ...names.filter((name) => !cases.includes(name)).map((name) => `${name} has no case`),
    ...[...new Set([...cases, ...anybody])]
      .filter((name) => !names.includes(name))
      .map((name) => `${name} is no method`),
    ...names.filter((name, at) => names.indexOf(name) !== at).map((name) => `${name} is there twice`),
  ];
}

function routeGaps({ routes, methods }: Surface, { routes: cases, open }: Covered): string[] {
  const named = Object.entries(cases);
  return [
    ...routes
      .filter((route) => !open.includes(route) && !Object.hasOwn(cases, route))
      .map((route) => `${route} has no case`),
    ...[...Object.keys(cases), ...open]
      .filter((route) => !routes.includes(route))
      .map((route) => `${route} is no route`),
    ...open.filter((route) => Object.hasOwn(cases, route)).map((route) => `${route} is open and has a case`),
    ...named
      .filter(([, { method }]) => !methods.some(({ name }) => name === method))
      .map(([route, { method }]) => `${route} is ${method}, which is no method`),
    ...routes.filter((route, at) => routes.indexOf(route) !== at).map((route) => `${route} is there twice`),
  ];
}
