/** Prefix of the module's variables on their way through Node's own: what a pod sets must mean nothing to Node. */
export const GUEST_VARIABLE = 'GUEST:'
/** Where the module's files are in the box, which it sees as `/`. */
export const GUEST_ROOT = '/guest'

/**
 * What runs in the box of a WebAssembly container: a fixed text for the agent's own Node. Arguments are the module's path
 * in the box, the name it is called by and its arguments. It ends with the module's exit code; 128 says that it was no
 * module that can run here, 134 that it trapped.
 */
export const HOST_PROGRAM = `
import { readFileSync } from 'node:fs'
import { WASI } from 'node:wasi'
const [path, ...args] = process.argv.slice(2)
const env = {}
for (const [name, value] of Object.entries(process.env)) {
  if (name.startsWith('${GUEST_VARIABLE}')) env[name.slice(${GUEST_VARIABLE.length})] = value
}
const end = (code, words) => { process.stderr.write('wasm: ' + words + '\\n'); process.exit(code) }
let wasi, instance
try {
  const module = await WebAssembly.compile(readFileSync(path))
  const imports = WebAssembly.Module.imports(module)
  const old = imports.some(({ module }) => module === 'wasi_unstable')
  wasi = new WASI({ version: old ? 'unstable' : 'preview1', args, env, preopens: { '/': '${GUEST_ROOT}' }, returnOnExit: true })
  const given = wasi.getImportObject()
  const lacks = imports.find(({ module, name }) => given[module]?.[name] === undefined)
  if (lacks) end(128, 'it imports ' + lacks.module + '.' + lacks.name + ', which WASI preview 1 does not have: build it for wasm32-wasip1')
  instance = await WebAssembly.instantiate(module, given)
  if (typeof instance.exports._start !== 'function') end(128, 'it exports no _start: build it as a command, not as a library')
} catch (error) {
  end(128, 'it cannot be loaded: ' + (error?.message ?? error))
}
try {
  process.exit(wasi.start(instance))
} catch (error) {
  end(134, 'it trapped: ' + (error?.message ?? error))
}
`
