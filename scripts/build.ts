import { existsSync } from 'node:fs'
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { createRequire, isBuiltin } from 'node:module'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { type BuildOptions, type BuildResult, build, type Metafile, type Plugin, transform } from 'esbuild'
import { SluiceError } from '../api/errors.ts'
import { buildConsole } from '../console/build.ts'
import { buildNodeRed } from '../node-red/build.ts'

/**
 * Builds what is published: each program as one ES module with its JavaScript dependencies inside, common parts in
 * files beside it. Node strips no types below node_modules, so a package of sources would not run.
 */

/** Program in dist/ by its source. The command has to be there, the others are started by it as processes. */
const PROGRAMS: Readonly<Record<string, string>> = {
  sluice: 'cli/main.ts',
  agent: 'agent/main.ts',
  cloud: 'cloudcore/main.ts',
  apiserver: 'cloudcore/apiserver/thread-main.ts',
  plant: 'demo/plant.ts',
  board: 'hil/boards/board-main.ts',
}

interface PackageJson {
  readonly version: string
  readonly optionalDependencies?: Readonly<Record<string, string>>
}

/** Accelerators that `ws` tries to load and does without. */
const NOT_INSTALLED = ['bufferutil', 'utf-8-validate']

/** In a bundle only the programs themselves are entries, also when bin/sluice.mjs imports one. */
const markEntries = (entries: readonly string[]): Plugin => ({
  name: 'mark-entries',
  setup(context) {
    context.onLoad({ filter: /main\.ts$|plant\.ts$/ }, async ({ path }) => {
      if (!entries.includes(path)) return undefined
      const source = await readFile(path, 'utf8')
      return { contents: source.replaceAll('import.meta.main', 'true'), loader: 'ts' }
    })
  },
})

/**
 * `await import('yaml')` gives the names of a CommonJS package in Node, but only `default` in a bundle, whose names
 * have to be known when it is made. So they are asked for, and written down in a module between the two.
 */
const nameDynamicImports = (root: string, external: readonly string[]): Plugin => ({
  name: 'name-dynamic-imports',
  setup(context) {
    context.onResolve({ filter: /^[^./]/ }, ({ path, kind, resolveDir }) => {
      if (kind !== 'dynamic-import' || isBuiltin(path) || external.includes(path)) return undefined
      return { path, namespace: 'named', pluginData: resolveDir }
    })
    context.onLoad({ filter: /.*/, namespace: 'named' }, async ({ path, pluginData }) => {
      const file = createRequire(join(String(pluginData ?? root), 'index.js')).resolve(path)
      const names = Object.keys((await import(pathToFileURL(file).href)) as object).filter(
        (name) => name !== 'default' && /^[A-Za-z_$][\w$]*$/.test(name),
      )
      const contents = [
        `import * as all from ${JSON.stringify(path)}`,
        'export default all.default ?? all',
        ...names.map((name) => `export const ${name} = all.${name}`),
      ]
      return { contents: contents.join('\n'), resolveDir: String(pluginData ?? root) }
    })
  },
})

const builtin: (name: string) => object = createRequire(import.meta.url)

/**
 * Node's own modules are asked for by `require`. An `import` of one reads everything it exports to know the names, and
 * reading some of `node:http` loads a whole second HTTP client: 6 MiB of memory that the gateway has better use for.
 */
export const requireBuiltins: Plugin = {
  name: 'require-builtins',
  setup(context) {
    context.onResolve({ filter: /^[a-z_/:]+$/ }, ({ path, kind }) =>
      // An `import()` stays as it is: what it gives has to have its names.
      isBuiltin(path) && kind === 'import-statement' ? { path, namespace: 'builtin' } : undefined,
    )
    // Each name is read when it is used anywhere and left out when not. As one CommonJS module it would be copied for every
    // file that asks for it, name by name: a megabyte of getters.
    context.onLoad({ filter: /.*/, namespace: 'builtin' }, ({ path }) => {
      const names = Object.keys(builtin(path)).filter((name) => name !== 'default' && /^[A-Za-z_$][\w$]*$/.test(name))
      const lines = names.map((name) => `export const ${name} = /* @__PURE__ */ (() => all.${name})()`)
      return { contents: [`const all = require(${JSON.stringify(path)})`, 'export default all', ...lines].join('\n') }
    })
  },
}

/** CommonJS dependencies call `require` for Node's own modules, which an ES module does not have. */
const REQUIRE =
  "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);"

export interface BuiltPrograms {
  /** File names in the folder, by program. */
  readonly programs: Readonly<Record<string, string>>
  readonly metafile: Metafile
}

type Bundle = BuildResult<BuildOptions & { metafile: true; write: false }>

async function bundle(root: string, options: BuildOptions): Promise<Bundle> {
  try {
    return await build({ ...options, absWorkingDir: root, metafile: true, write: false, logLevel: 'silent' })
  } catch (cause) {
    throw new SluiceError('SLUICE_BUILD_FAILED', cause instanceof Error ? cause.message : String(cause), {
      hint: 'Run the type check first: it says more about what is missing.',
      cause,
    })
  }
}

/**
 * Builds every program whose source exists below `root` into `folder`. The folder is replaced as a whole, and only
 * once everything is built. Throws SLUICE_BUILD_FAILED.
 */
export async function buildPrograms(root: string, folder: string): Promise<BuiltPrograms> {
  const { optionalDependencies = {} } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as PackageJson
  const present = Object.entries(PROGRAMS).filter(([, source]) => existsSync(join(root, source)))
  if (!present.some(([name]) => name === 'sluice')) {
    throw new SluiceError('SLUICE_BUILD_FAILED', `${PROGRAMS['sluice']} is missing`, {
      hint: 'Build in a complete checkout.',
    })
  }
  const external = [...Object.keys(optionalDependencies), ...NOT_INSTALLED]
  const { metafile, outputFiles } = await bundle(root, {
    entryPoints: Object.fromEntries(present),
    outdir: folder,
    // Flat: code that finds files beside itself finds them from every piece.
    chunkNames: '[name]-[hash]',
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    target: 'node24',
    external,
    // The same streams once more, with the polyfills of browsers: 150 KiB that Node has.
    alias: { 'readable-stream': 'node:stream' },
    plugins: [
      markEntries(present.map(([, source]) => join(root, source))),
      requireBuiltins,
      nameDynamicImports(root, external),
    ],
    banner: { js: REQUIRE },
    legalComments: 'none',
    treeShaking: true,
  })
  await rm(folder, { recursive: true, force: true })
  const shipped = dependencyFiles(metafile)
  for (const { path, contents, text } of outputFiles) {
    await mkdir(dirname(path), { recursive: true })
    const small = !path.endsWith('.js') ? contents : await (shipped.has(basename(path)) ? squeezed : compact)(text)
    await writeFile(path, small)
  }
  await writeFile(join(folder, 'LICENSES.txt'), await licences(root, metafile))
  return { programs: Object.fromEntries(present.map(([name]) => [name, `${name}.js`])), metafile }
}

/**
 * Outputs that are mostly other people's or generated code. A process keeps the text of what it has loaded, so these lose
 * their layout and comments (the licences are in LICENSES.txt).
 */
function dependencyFiles({ outputs }: Metafile): ReadonlySet<string> {
  const files = new Set<string>()
  for (const [name, { bytes, inputs, entryPoint }] of Object.entries(outputs)) {
    let foreign = 0
    for (const [input, { bytesInOutput }] of Object.entries(inputs)) {
      if (packageOf(input) !== undefined || input.includes('/generated/')) foreign += bytesInOutput
    }
    if (foreign > bytes / 2 && !Object.values(PROGRAMS).includes(entryPoint ?? '')) files.add(basename(name))
  }
  return files
}

/** Names of generated code mean nothing; those of others may be part of how it works. */
async function squeezed(text: string): Promise<string> {
  const isGenerated = /^\/\/ \S*\/generated\//m.test(text)
  const minify = { minifyWhitespace: true, minifySyntax: true, minifyIdentifiers: isGenerated }
  return (await transform(text, { format: 'esm', target: 'node24', legalComments: 'none', ...minify })).code
}

/** Our own without its indentation, in short lines and with its names, so that a stack trace still points at something. */
async function compact(text: string): Promise<string> {
  const options = { minifyWhitespace: true, minifySyntax: true, lineLimit: 120 }
  return (await transform(text, { format: 'esm', target: 'node24', legalComments: 'none', ...options })).code
}

/** Folder of the package an input of the bundle belongs to: `node_modules/@scope/name`, nested ones too. */
const packageOf = (input: string): string | undefined =>
  /^((?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(input)?.[1]

/** Licence texts of everything inside the bundle, as most of them ask for. */
async function licences(root: string, metafile: Metafile): Promise<string> {
  const folders = new Set(Object.keys(metafile.inputs).flatMap((input) => packageOf(input) ?? []))
  const parts = ['The programs in this folder contain the following packages.\n']
  for (const folder of [...folders].sort()) {
    const about: unknown = JSON.parse(await readFile(join(root, folder, 'package.json'), 'utf8'))
    const field = (name: string) => (typeof about === 'object' && about !== null ? Reflect.get(about, name) : undefined)
    const file = ['LICENSE', 'LICENSE.md', 'LICENSE.txt', 'license', 'License', 'LICENCE'].find((name) =>
      existsSync(join(root, folder, name)),
    )
    const text = file === undefined ? '' : await readFile(join(root, folder, file), 'utf8')
    parts.push(`${'-'.repeat(78)}\n${field('name')} ${field('version')} (${field('license')})\n\n${text.trim()}\n`)
  }
  return parts.join('\n')
}

/** The sources that are loaded as soon as a program starts: what only `import()` reaches is left out. */
export function loadedAtStart(metafile: Metafile, program: string): Set<string> {
  const outputs = new Map(Object.entries(metafile.outputs))
  const start = [...outputs.keys()].find((name) => name.endsWith(`/${program}`) || name === program)
  const seen = new Set<string>()
  const open = start === undefined ? [] : [start]
  const inputs = new Set<string>()
  for (let name = open.pop(); name !== undefined; name = open.pop()) {
    if (seen.has(name)) continue
    seen.add(name)
    const output = outputs.get(name)
    for (const [input, { bytesInOutput }] of Object.entries(output?.inputs ?? {})) {
      if (bytesInOutput > 0 && !input.startsWith('builtin:')) inputs.add(input)
    }
    for (const { path, kind, external } of output?.imports ?? []) {
      if (kind !== 'dynamic-import' && external !== true) open.push(path)
    }
  }
  return inputs
}

if (import.meta.main) {
  const root = fileURLToPath(new URL('..', import.meta.url))
  const { programs, metafile } = await buildPrograms(root, join(root, 'dist'))
  const bytes = Object.values(metafile.outputs).reduce((sum, output) => sum + output.bytes, 0)
  for (const file of Object.values(programs)) process.stdout.write(`dist/${file}\n`)
  process.stdout.write(`${Object.keys(metafile.outputs).length} files, ${Math.round(bytes / 1024)} KiB\n`)
  const nodes = await buildNodeRed(join(root, 'node-red/dist'))
  process.stdout.write(`node-red/dist: ${nodes.length} nodes\n`)
  const { firstBytes } = await buildConsole(join(root, 'console/dist'))
  process.stdout.write(`console/dist: ${Math.round(firstBytes / 1024)} KiB to load\n`)
}
