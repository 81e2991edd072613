// Checks an AsyncAPI document: node .ci/asyncapi.mjs FOLDER_WITH_NODE_MODULES DOCUMENT. Exit status 0: no error and no warning.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { resolve } from 'node:path';

const [folder, path] = process.argv.slice(2);
const { Parser } = createRequire(resolve(folder, 'package.json'))('@asyncapi/parser');
const { document, diagnostics } = await new Parser().parse(readFileSync(path, 'utf8'));
// 0 is an error, 1 a warning, the rest are remarks.
for (const found of diagnostics) {
  console.log(found.severity, found.path.join('/'), found.message);
}
process.exit(document && !diagnostics.some((found) => found.severity <= 1) ? 0 : 1);
