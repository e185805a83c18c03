import { randomBytes } from 'node:crypto'
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { SluiceError } from '../../api/errors.ts'
import { FIRST_FLOW, SETTINGS } from './settings.ts'

const PACKAGE = '@sluice/node-red-twins'

/** Writes a file that is not there yet, for its owner alone. */
function once(path: string, content: () => string): void {
  if (!existsSync(path)) writeFileSync(path, content(), { mode: 0o600 })
}

/**
 * Makes a folder in which Node-RED finds our nodes, its settings and a first flow. What is there already stays; only the
 * nodes are replaced, by those of this release.
 */
export function prepareUserDir(folder: string, nodes: string): void {
  if (!existsSync(join(nodes, 'dist'))) {
    throw new SluiceError('SLUICE_CLI_PART_MISSING', `The Node-RED nodes are not built: ${join(nodes, 'dist')}`, {
      hint: 'In a clone of the project: npm run build. In an installed package: install it once more.',
    })
  }
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  once(join(folder, 'credential.key'), () => randomBytes(32).toString('base64url'))
  once(join(folder, 'settings.cjs'), () => SETTINGS)
  once(join(folder, 'flows.json'), () => `${JSON.stringify(FIRST_FLOW, undefined, 2)}\n`)
  installNodes(folder, nodes)
}

/** Puts the nodes into a Node-RED user folder, as `npm install` of the package would. */
export function installNodes(folder: string, nodes: string): void {
  const target = join(folder, 'node_modules', PACKAGE)
  rmSync(target, { recursive: true, force: true })
  for (const part of ['dist', 'examples', 'docs', 'package.json', 'README.md', 'LICENSE']) {
    const source = join(nodes, part)
    if (existsSync(source)) cpSync(source, join(target, part), { recursive: true })
  }
  const file = join(folder, 'package.json')
  const own = readPackage(file)
  const { version } = readPackage(join(nodes, 'package.json')) as { version?: string }
  const dependencies = { ...(own['dependencies'] as Record<string, string> | undefined), [PACKAGE]: `~${version}` }
  writeFileSync(
    file,
    `${JSON.stringify({ name: 'node-red-project', private: true, ...own, dependencies }, undefined, 2)}\n`,
  )
}

function readPackage(path: string): Record<string, unknown> {
  if (!existsSync(path)) return {}
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>
  } catch (cause) {
    throw new SluiceError('SLUICE_CLI_FILE', `${path} is not JSON`, { hint: 'Mend or remove the file.', cause })
  }
}

/** Where Node-RED's own program is: in the given folder, or as the shell would find it. */
export function findNodeRed(folder: string, onPath: string | undefined): string | undefined {
  const own = join(folder, 'node_modules', 'node-red', 'red.js')
  return existsSync(own) ? own : onPath
}
