// Elysia reads it when it is loaded, so this is the first import of the entry point.
Bun.env.NODE_ENV ??= "production";
