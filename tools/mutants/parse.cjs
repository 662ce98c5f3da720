// SPDX-License-Identifier: GPL-2.0
// parse.cjs MODULES FILE...
//
// Prints the syntax trees of C files as JSON.  A node is [type, field, begin, end,
// children]; the parser is npm's tree-sitter, in the directory MODULES.

const fs = require("fs");
const [modules, ...files] = process.argv.slice(2);
const { Parser, Language } = require(`${modules}/web-tree-sitter/web-tree-sitter.cjs`);

function plain(cursor) {
	const node = [cursor.nodeType, cursor.currentFieldName, cursor.startIndex, cursor.endIndex, []];

	if (cursor.gotoFirstChild()) {
		do
			node[4].push(plain(cursor));
		while (cursor.gotoNextSibling());
		cursor.gotoParent();
	}
	return node;
}

async function main() {
	await Parser.init();
	const parser = new Parser();

	parser.setLanguage(await Language.load(`${modules}/tree-sitter-c/tree-sitter-c.wasm`));
	console.log(JSON.stringify(files.map(
		(file) => plain(parser.parse(fs.readFileSync(file, "utf8")).walk()))));
}

main();
