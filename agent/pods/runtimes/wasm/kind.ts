import { closeSync, existsSync, lstatSync, openSync, readdirSync, readlinkSync, readSync } from 'node:fs'
import { join } from 'node:path'
import { SluiceError } from '../../../../api/errors.ts'
import { inside } from '../../images/inside.ts'
import type { StoredImage } from '../../images/store.ts'
import { environment } from '../process/arguments.ts'
import type { BoxKind } from '../process/box-kind.ts'
import type { ContainerSpec } from '../runtime.ts'
import { GUEST_ROOT, GUEST_VARIABLE } from './host.ts'

const NODE = '/node'
const HOST = '/host.mjs'
/** What Node's own libraries are found in, where the machine has them. */
const LIBRARIES = ['/lib', '/lib64', '/lib32', '/usr/lib', '/usr/lib64'] as const

/** `\0asm` and version 1 (WebAssembly core specification, 5.5.16); a component has another version. */
const MODULE = Buffer.from([0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00])

/**
 * `runtimeClassName: wasm`: a WASI module in a Node of its own, in the same kind of box as a program: bubblewrap, its own
 * user, control groups, the filter of system calls. WASI itself keeps a module to its files; Node's is no wall against
 * hostile modules, the box around it is. `hostFile` has the text of host.ts.
 */
export function wasmBox(hostFile: string, wasmImageRoot: (id: string) => string): BoxKind {
  const moduleOf = (spec: ContainerSpec, image: StoredImage) => findModule(spec, image, wasmImageRoot(image.id))
  return {
    name: 'wasm',
    version: process.versions.node,
    firstUser: 1_910_000_000,
    // A busy module never hears a signal, and Node would not end by it as the first process.
    isFirst: false,
    noExec: 'A WebAssembly container has one program and no other: no command can run beside it',
    check(spec, image) {
      const { path, name } = moduleOf(spec, image)
      const head = Buffer.alloc(MODULE.length)
      const file = openSync(path, 'r')
      try {
        readSync(file, head)
      } finally {
        closeSync(file)
      }
      if (head.equals(MODULE)) return
      const component = head.subarray(0, 4).equals(MODULE.subarray(0, 4))
      throw new SluiceError('SLUICE_POD_START', `${name} is ${component ? 'a component' : 'no WebAssembly module'}`, {
        hint: 'Build it as a core module for wasm32-wasip1 (WASI preview 1).',
      })
    },
    box: (_, __, { rootPath, tmpPath, user, group, mounts }) => [
      ...['--uid', String(user), '--gid', String(group)],
      ...LIBRARIES.filter((path) => existsSync(path)).flatMap((path) =>
        lstatSync(path).isSymbolicLink() ? ['--symlink', readlinkSync(path), path] : ['--ro-bind', path, path],
      ),
      ...['--ro-bind', process.execPath, NODE, '--ro-bind', hostFile, HOST],
      ...['--dir', '/dev', '--dev-bind', '/dev/null', '/dev/null', '--dev-bind', '/dev/urandom', '/dev/urandom'],
      ...['--ro-bind', rootPath, GUEST_ROOT, '--bind', tmpPath, `${GUEST_ROOT}/tmp`],
      ...mounts.flatMap(({ hostPath, containerPath, readOnly }) => [
        readOnly ? '--ro-bind' : '--bind',
        hostPath,
        GUEST_ROOT + containerPath,
      ]),
      ...['--remount-ro', '/', '--cap-drop', 'ALL', '--chdir', '/'],
    ],
    command(spec, image) {
      const { inBox, name, args } = moduleOf(spec, image)
      // One thread and small young generations: most of the memory of a module is its own.
      return [NODE, '--no-warnings', '--max-semi-space-size=1', '--v8-pool-size=1', HOST, inBox, name, ...args]
    },
    variables(spec, image, hostname) {
      const own = environment(spec, image.config, hostname)
      return new Map([...own].map(([name, value]) => [GUEST_VARIABLE + name, value]))
    },
  }
}

/** The module is what the pod or the image names first, or the only `.wasm` at the top of the image. */
function findModule(spec: ContainerSpec, { config }: StoredImage, root: string) {
  const words =
    spec.command.length > 0
      ? [...spec.command, ...spec.args]
      : [...config.entrypoint, ...(spec.args.length > 0 ? spec.args : config.command)]
  const named = words[0]?.endsWith('.wasm') === true ? words[0] : undefined
  const lying = named === undefined ? readdirSync(root).filter((name) => name.endsWith('.wasm')) : []
  const name = named ?? (lying.length === 1 ? `/${lying[0]}` : undefined)
  const path = name === undefined ? undefined : inside(root, name, true)
  if (name === undefined || path === undefined || lstatSync(path, { throwIfNoEntry: false })?.isFile() !== true) {
    throw new SluiceError(
      'SLUICE_POD_START',
      name === undefined
        ? `The image of container ${spec.name} names no .wasm file to run`
        : `There is no file ${name} in the image of container ${spec.name}`,
      {
        hint: 'Let the command begin with the path of a .wasm file, or put one file of that kind at the top of the image.',
      },
    )
  }
  return {
    path,
    name,
    inBox: join(GUEST_ROOT, path.slice(root.length)),
    args: named === undefined ? words : words.slice(1),
  }
}
