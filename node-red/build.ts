import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

/**
 * Makes `dist/` as Node-RED wants it: for each node one CommonJS file, one HTML file with dialog and editor code, and its
 * texts by language. Every file stands alone, because Node-RED loads them one by one.
 */
export async function buildNodeRed(out: string): Promise<readonly string[]> {
  const here = fileURLToPath(new URL('.', import.meta.url))
  const nodes = (await readdir(join(here, 'src')))
    .filter((name) => /^sluice-[\w-]+\.ts$/.test(name) && !name.includes('.test'))
    .map((name) => name.slice(0, -3))
  await rm(out, { recursive: true, force: true })
  await mkdir(out, { recursive: true })
  // The package itself is made of ES modules; what Node-RED 4 requires is not.
  await writeFile(join(out, 'package.json'), '{ "type": "commonjs" }\n')
  await build({
    entryPoints: nodes.map((name) => join(here, 'src', `${name}.ts`)),
    outdir: out,
    bundle: true,
    platform: 'node',
    format: 'cjs',
    target: 'node18',
    // Node-RED calls the module itself.
    footer: { js: 'module.exports = module.exports.register' },
    logLevel: 'warning',
  })
  const languages = await readdir(join(here, 'locales'))
  await Promise.all(nodes.map((name) => writeEditor(here, out, name)))
  for (const language of languages) await writeTexts(here, out, language, nodes)
  return nodes
}

async function writeEditor(here: string, out: string, name: string): Promise<void> {
  const template = await readFile(join(here, 'editor', `${name}.html`), 'utf8')
  const bundled = await build({
    entryPoints: [join(here, 'editor', `${name}.ts`)],
    bundle: true,
    platform: 'browser',
    format: 'iife',
    target: 'es2022',
    minify: true,
    write: false,
    logLevel: 'warning',
  })
  const code = bundled.outputFiles[0]!.text.replaceAll('</script', '<\\/script')
  await writeFile(join(out, `${name}.html`), `<script type="text/javascript">${code}</script>\n${template}`)
}

async function writeTexts(here: string, out: string, language: string, nodes: readonly string[]): Promise<void> {
  const folder = join(out, 'locales', language)
  await mkdir(folder, { recursive: true })
  const texts = await readFile(join(here, 'locales', language, 'nodes.json'), 'utf8')
  for (const name of nodes) {
    const help = await readFile(join(here, 'locales', language, 'help', `${name}.md`), 'utf8')
    await writeFile(join(folder, `${name}.json`), texts)
    await writeFile(
      join(folder, `${name}.html`),
      `<script type="text/markdown" data-help-name="${name}">\n${help}</script>\n`,
    )
  }
}
