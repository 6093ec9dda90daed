// Makes types of the JSON Schemas in a folder: TypeScript by two generators, Java by a third; a folder of output for each.
const fs = require("fs");
const path = require("path");
const { compileFromFile } = require("json-schema-to-typescript");
const { quicktype, InputData, JSONSchemaInput, FetchingJSONSchemaStore } = require("quicktype-core");
const { JavaFileGenerator, JAVA_JACKSON_PRESET } = require("@asyncapi/modelina");

const [, , from, to] = process.argv;
const folder = (...parts) => {
  const made = path.join(to, ...parts);
  fs.mkdirSync(made, { recursive: true });
  return made;
};

(async () => {
  for (const file of fs.readdirSync(from).filter((name) => name.endsWith(".json"))) {
    const place = path.join(from, file);
    const text = fs.readFileSync(place, "utf8");
    const { title, $id, ...schema } = JSON.parse(text);

    const types = await compileFromFile(place, { additionalProperties: false, format: false });
    fs.writeFileSync(path.join(folder("json2ts"), `${title}.ts`), types);

    const input = new JSONSchemaInput(new FetchingJSONSchemaStore());
    await input.addSource({ name: title, schema: text });
    const inputData = new InputData();
    inputData.addInput(input);
    const { lines } = await quicktype({ inputData, lang: "typescript" });
    fs.writeFileSync(path.join(folder("quicktype"), `${title}.ts`), lines.join("\n"));

    const generator = new JavaFileGenerator({ presets: [{ preset: JAVA_JACKSON_PRESET }], collectionType: "List" });
    const packageName = `org.example.${title.toLowerCase()}`;
    await generator.generateToFiles({ title, ...schema }, folder("java", ...packageName.split(".")), { packageName }, true);
  }
})();
