// Parses an AsyncAPI document; prints what the parser says of it, and of what it holds, as JSON.
const { Parser, fromFile } = require("@asyncapi/parser");

fromFile(new Parser(), process.argv[2]).parse().then(({ document, diagnostics }) => {
  const said = diagnostics.map(({ severity, code, path, message }) => ({ severity, code, path: path.join("."), message }));
  const channels = document ? document.allChannels().all() : [];
  const topics = channels.map((channel) => ({
    address: channel.address(),
    messages: channel.messages().all().map((message) => message.name()).sort(),
    kafka: channel.bindings().get("kafka")?.json() ?? null,
  }));
  console.log(JSON.stringify({ version: document?.version(), said, topics }));
});
