import { SluiceError } from '../../../../api/errors.ts'
import type { StoredImage } from '../../images/store.ts'
import type { ContainerSpec, RuntimeName } from '../runtime.ts'
import { type Box, boxArguments, commandOf, environment } from './arguments.ts'

/** What is in a box and how it is begun: the one thing in which the runtimes that stand on bubblewrap differ. */
export interface BoxKind {
  readonly name: RuntimeName
  /** As in `containerRuntimeVersion`, behind the name; undefined: bubblewrap's. */
  readonly version: string | undefined
  /** First of the users that its pods run as. */
  readonly firstUser: number
  /** Throws `SLUICE_POD_START` when the image cannot run in it; `rootPath` is its tree of files. */
  check(spec: ContainerSpec, image: StoredImage, rootPath: string): void
  box(spec: ContainerSpec, image: StoredImage, box: Box): string[]
  command(spec: ContainerSpec, image: StoredImage): string[]
  variables(spec: ContainerSpec, image: StoredImage, hostname: string): ReadonlyMap<string, string>
  /**
   * Whether the program is the first process of its box, as in any engine. Otherwise bubblewrap is: one that no filter holds, so
   * nothing in the box may be able to reach it by /proc.
   */
  readonly isFirst: boolean
  /** Why no command can run beside the program; undefined: it can. */
  readonly noExec: string | undefined
}

/** Programs of the machine's own kind. Users are above what distributions give to people and to container managers. */
export const nativeBox: BoxKind = {
  name: 'process',
  version: undefined,
  firstUser: 1_900_000_000,
  isFirst: true,
  noExec: undefined,
  check(spec, image) {
    if (/^wasm/.test(image.config.architecture ?? '')) {
      throw new SluiceError('SLUICE_POD_START', `The image of container ${spec.name} is WebAssembly`, {
        hint: 'Give the pod runtimeClassName: wasm.',
      })
    }
    if (commandOf(spec, image.config).length === 0) {
      throw new SluiceError('SLUICE_POD_START', `Container ${spec.name} has no command, and its image names none`, {
        hint: 'Give the container a command.',
      })
    }
  },
  box: (spec, image, box) => boxArguments(spec, image.config, box),
  command: (spec, image) => commandOf(spec, image.config),
  variables: (spec, image, hostname) => environment(spec, image.config, hostname),
}
