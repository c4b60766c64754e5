import { GatewayError } from "../protocol/errors.ts";

/** What stands before the content of a part. */
const HEAD_BYTES = 8 * 1024;
/** What may follow the last part. */
const END_BYTES = 1024;

/** The boundary of a form by its Content-Type; null: it is no form. @throws GatewayError INVALID_REQUEST */
export function boundaryOf(content_type: string): string | null {
  if (!/^\s*multipart\/form-data\s*(;|$)/i.test(content_type)) return null;
  const [, quoted, plain] = /;\s*boundary=(?:"([^"]*)"|([^\s;]+))/i.exec(content_type) ?? [];
  const boundary = quoted ?? plain ?? "";
  if (/^[A-Za-z0-9'()+_,\-./:=? ]{1,70}$/.test(boundary)) return boundary;
  throw malformed("the form has no boundary in its Content-Type");
}

/**
 * The one file of a form, as browsers and curl send it, its content read as it comes.
 * @throws GatewayError INVALID_REQUEST for anything else, also while the content is read
 */
export async function fileIn(
  body: AsyncIterator<Uint8Array>,
  boundary: string,
): Promise<{ readonly name: string; readonly content: AsyncIterable<Uint8Array> }> {
  const source = new Source(body);
  const start = `--${boundary}\r\n`;
  await source.need(start.length);
  if (source.take(start.length).toString("latin1") !== start)
    throw malformed("it does not begin with its boundary");
  const head = (await source.until("\r\n\r\n", HEAD_BYTES)).toString("utf8");
  return { name: nameOf(head), content: contentOf(source, `\r\n--${boundary}`) };
}

async function* contentOf(source: Source, delimiter: string): AsyncGenerator<Uint8Array> {
  for (;;) {
    const at = source.indexOf(delimiter);
    if (at >= 0) {
      if (at > 0) yield source.take(at);
      break;
    }
    // The end of what is there may be the beginning of the delimiter.
    const sure = source.length - delimiter.length + 1;
    if (sure > 0) yield source.take(sure);
    await source.more();
  }
  source.take(delimiter.length);
  await source.need(2);
  if (source.take(2).toString("latin1") !== "--")
    throw malformed("send one file, and nothing else in the form");
  do if (source.length > END_BYTES) throw malformed("something follows its end");
  while (await source.tryMore());
}

function nameOf(head: string): string {
  const line = head.split("\r\n").find((each) => /^content-disposition\s*:/i.test(each)) ?? "";
  // Browsers write a quote as %22, curl writes it as \".
  const [, quoted] = /;\s*filename="((?:[^"\\]|\\.)*)"/i.exec(line) ?? [];
  const [, plain] = /;\s*filename=([^";\s]+)/i.exec(line) ?? [];
  const name = quoted?.replaceAll(/\\(["\\])/g, "$1") ?? plain;
  if (name === undefined) throw malformed("its field is no file: send one with a filename");
  return name.replaceAll(/%(22|0D|0A)/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
}

function malformed(what: string): GatewayError {
  return new GatewayError("INVALID_REQUEST", `the form cannot be read: ${what}`, {
    details: { kind: "form" },
  });
}

/** Bytes that came and were not taken. */
class Source {
  readonly #body: AsyncIterator<Uint8Array>;
  #held: Buffer = Buffer.alloc(0);

  constructor(body: AsyncIterator<Uint8Array>) {
    this.#body = body;
  }

  get length(): number {
    return this.#held.length;
  }

  indexOf(text: string): number {
    return this.#held.indexOf(text, 0, "latin1");
  }

  take(bytes: number): Buffer {
    const taken = this.#held.subarray(0, bytes);
    this.#held = this.#held.subarray(bytes);
    return taken;
  }

  async tryMore(): Promise<boolean> {
    const next = await this.#body.next();
    if (next.done === true) return false;
    this.#held = Buffer.concat([this.#held, next.value]);
    return true;
  }

  async more(): Promise<void> {
    if (!(await this.tryMore())) throw malformed("it broke off");
  }

  async need(bytes: number): Promise<void> {
    while (this.length < bytes) await this.more();
  }

  /** What is before `text`, which is taken too. */
  async until(text: string, most: number): Promise<Buffer> {
    for (;;) {
      const at = this.indexOf(text);
      if (at > most || (at < 0 && this.length > most)) throw malformed("what describes its file is too long");
      if (at >= 0) {
        const taken = this.take(at);
        this.take(text.length);
        return taken;
      }
      await this.more();
    }
  }
}
