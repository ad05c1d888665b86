// What Microsoft's own Kusto language service says of queries: node kusto.cjs PACKAGE < {"tables": ..., "queries": ...}
// Tables are columns as `name: type, ...` by name, queries are texts by name; the answer is a list of complaints by name.
const { readFileSync } = require('node:fs');
const { join, resolve } = require('node:path');

const packaged = resolve(process.argv[2]);
require(join(packaged, 'bridge.min.js'));
require(join(packaged, 'Kusto.Language.Bridge.min.js'));

const { GlobalState, KustoCode, Symbols } = Kusto.Language;
const asked = JSON.parse(readFileSync(0, 'utf8'));
const tables = Object.entries(asked.tables).map(([name, columns]) =>
    Symbols.TableSymbol.From(`(${columns})`).WithName(name));
const globals = GlobalState.Default.WithDatabase(new Symbols.DatabaseSymbol.$ctor3('workspace', null, tables));

const answers = {};
for (const [name, text] of Object.entries(asked.queries)) {
    const found = KustoCode.ParseAndAnalyze(text, globals).GetDiagnostics();
    answers[name] = [];
    for (let index = 0; index < found.Count; index += 1) {
        const one = found.getItem(index);
        const line = text.slice(0, one.Start).split('\n').length;
        answers[name].push(`line ${line}: ${one.Code} ${one.Message}`);
    }
}
process.stdout.write(JSON.stringify(answers));
