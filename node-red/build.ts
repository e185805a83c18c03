import { chmod, mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

/**
 * Makes `dist/` as Node-RED wants it: for each node one CommonJS file, one HTML file with dialog and editor code, and its
 * texts by language. Every file stands alone, because Node-RED loads them one by one. The folder is replaced as a whole, and
 * only when something in it is another: a Node-RED that starts meanwhile reads it.
 */
export async function buildNodeRed(out: string): Promise<readonly string[]> {
  const fresh = await mkdtemp(`${out.replace(/\/$/, '')}.`)
  try {
    const nodes = await buildInto(fresh)
    if (await areSame(fresh, out)) return nodes
    await chmod(fresh, 0o755)
    await rm(out, { recursive: true, force: true })
    await rename(fresh, out).catch(async (cause: unknown) => {
      // Whoever built the same at the same time was first.
      if (!(await areSame(fresh, out))) throw cause
    })
    return nodes
  } finally {
    await rm(fresh, { recursive: true, force: true })
  }
}

async function areSame(one: string, other: string): Promise<boolean> {
  const filesIn = async (folder: string) =>
    (await readdir(folder, { recursive: true, withFileTypes: true }))
      .filter((entry) => entry.isFile())
      .map((entry) => relative(folder, join(entry.parentPath, entry.name)))
      .sort()
  try {
    const names = await filesIn(one)
    if (names.join('\n') !== (await filesIn(other)).join('\n')) return false
    for (const name of names) {
      if (!(await readFile(join(one, name))).equals(await readFile(join(other, name)))) return false
    }
    return true
  } catch {
    return false
  }
}

async function buildInto(out: string): Promise<readonly string[]> {
  const here = fileURLToPath(new URL('.', import.meta.url))
  const nodes = (await readdir(join(here, 'src')))
    .filter((name) => /^sluice-[\w-]+\.ts$/.test(name) && !name.includes('.test'))
    .map((name) => name.slice(0, -3))
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
