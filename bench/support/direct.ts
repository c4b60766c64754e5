/** Asks the model server for a stream as any client of it does; `onText` gets its text as it comes. */
export async function askDirectly(
  base_url: string,
  message: string,
  onText: (text: string) => void,
): Promise<void> {
  const response = await fetch(`${base_url}/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model: "fake", messages: [{ role: "user", content: message }], stream: true }),
  });
  if (!response.ok || response.body === null) throw new Error(`the model server answered ${response.status}`);
  const decoder = new TextDecoder();
  let rest = "";
  for await (const bytes of response.body) {
    const lines = (rest + decoder.decode(bytes, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) {
      if (!line.startsWith("data: {")) continue;
      const chunk = JSON.parse(line.slice(6)) as { choices: { delta: { content?: string } }[] };
      const text = chunk.choices[0]?.delta.content;
      if (text !== undefined && text !== "") onText(text);
    }
  }
}
