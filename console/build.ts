import { chmod, mkdir, mkdtemp, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { brotliCompressSync, constants, gzipSync } from 'node:zlib'
import { build, type Metafile } from 'esbuild'

export interface BuiltConsole {
  /** Compressed by brotli: what the page itself needs before anything is seen. */
  readonly firstBytes: number
  /** All of it, the parts that are loaded later included. */
  readonly allBytes: number
}

/**
 * Builds the console into a folder: `index.html` and `assets/`, names with a hash of their content, everything compressed
 * ahead. The folder is replaced as a whole once all of it is there, and only when something in it is another.
 */
export async function buildConsole(out: string): Promise<BuiltConsole> {
  const here = fileURLToPath(new URL('.', import.meta.url))
  const { outputFiles, metafile } = await build({
    absWorkingDir: here,
    entryPoints: { boot: 'src/boot.ts', app: 'src/main.tsx' },
    outdir: 'assets',
    entryNames: '[name]-[hash]',
    chunkNames: '[name]-[hash]',
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'browser',
    target: ['chrome110', 'firefox110', 'safari16'],
    jsx: 'automatic',
    jsxImportSource: 'preact',
    minify: true,
    legalComments: 'none',
    metafile: true,
    write: false,
    logLevel: 'warning',
  })
  const named = (name: string, extension: string) =>
    basename(
      outputFiles.map(({ path }) => path).find((path) => new RegExp(`/${name}-[^/]*\\.${extension}$`).test(path)) ?? '',
    )
  const first = staticFiles(metafile, `assets/${named('app', 'js')}`)
  // Without this the browser learns of each part from the one before.
  const preloads = first.map((name) => `<link rel="modulepreload" href="/${name}">\n`)
  const page = (await readFile(join(here, 'src/index.html'), 'utf8'))
    .replace('<script', `${preloads.join('')}<script`)
    .replace('boot.js', named('boot', 'js'))
    .replace('app.css', named('app', 'css'))
  const icon = await readFile(join(here, 'src/icon.svg'))
  const files: [name: string, content: Uint8Array][] = [
    ['index.html', Buffer.from(page)],
    ['assets/icon.svg', icon],
    ...outputFiles.map(({ path, contents }): [string, Uint8Array] => [`assets/${basename(path)}`, contents]),
  ]
  const sizes = (await sizesThere(out, files)) ?? (await write(out, files))
  const sum = (names: Iterable<string>) => [...names].reduce((total, name) => total + (sizes.get(name) ?? 0), 0)
  return {
    firstBytes: sum(['index.html', `assets/${named('boot', 'js')}`, `assets/${named('app', 'css')}`, ...first]),
    allBytes: sum(sizes.keys()),
  }
}

type Files = readonly (readonly [name: string, content: Uint8Array])[]

/** What is there already is left alone: somebody may be looking at it. Compressed sizes, or undefined when it is another. */
async function sizesThere(out: string, files: Files): Promise<Map<string, number> | undefined> {
  const sizes = new Map<string, number>()
  try {
    for (const [name, content] of files) {
      if (Buffer.compare(await readFile(join(out, name)), content) !== 0) return undefined
      await stat(join(out, `${name}.gz`))
      sizes.set(name, (await stat(join(out, `${name}.br`))).size)
    }
    const others = (await readdir(join(out, 'assets'))).length - 3 * (files.length - 1)
    return others === 0 ? sizes : undefined
  } catch {
    return undefined
  }
}

async function write(out: string, files: Files): Promise<Map<string, number>> {
  const sizes = new Map<string, number>()
  const fresh = await mkdtemp(`${out.replace(/\/$/, '')}.`)
  await mkdir(join(fresh, 'assets'), { recursive: true })
  for (const [name, content] of files) {
    const br = brotliCompressSync(content, { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } })
    sizes.set(name, br.length)
    await writeFile(join(fresh, name), content)
    await writeFile(join(fresh, `${name}.br`), br)
    await writeFile(join(fresh, `${name}.gz`), gzipSync(content, { level: 9 }))
  }
  // For others to read, as any folder is.
  await chmod(fresh, 0o755)
  await rm(out, { recursive: true, force: true })
  try {
    await rename(fresh, out)
  } catch (cause) {
    // Whoever built the same at the same time was first.
    await rm(fresh, { recursive: true, force: true })
    if ((await sizesThere(out, files)) === undefined) throw cause
  }
  return sizes
}

/** What an entry imports at once, and what that imports: paths below the output folder, the entry first. */
function staticFiles(metafile: Metafile, entry: string): string[] {
  const found = new Set([entry])
  for (const name of found)
    for (const { path, kind } of metafile.outputs[name]?.imports ?? []) if (kind === 'import-statement') found.add(path)
  return [...found]
}

if (import.meta.main) {
  const { firstBytes, allBytes } = await buildConsole(fileURLToPath(new URL('./dist', import.meta.url)))
  process.stdout.write(
    `console/dist: ${Math.round(firstBytes / 102.4) / 10} KiB at first, ${Math.round(allBytes / 102.4) / 10} KiB in all (brotli)\n`,
  )
}
