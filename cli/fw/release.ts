import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { SluiceError } from '../../api/errors.ts'
import type { FirmwareReleaseSpec } from '../../api/resources.ts'
import { build, writeGenerated } from '../../firmware/project/make.ts'
import { formatVersion, makeImage, parseImage } from '../../firmware/tools/image.ts'
import { developmentKey, publicKeyOf, readPrivateKey } from '../../firmware/tools/keys.ts'
import { signerOf, verifyImage } from '../../firmware/tools/sign.ts'
import type { requireProject } from './load.ts'

/** A project that is sound, with its model. */
type Sound = ReturnType<typeof requireProject>

/** How a project's firmware is signed: `signing:` of sluice-fw.yaml, and options that win over it. */
export interface SigningWishes {
  /** Folder of `sluice fw key new`. */
  readonly keys?: string | undefined
  readonly next?: boolean
  /** With the key that everybody has: for emulators and the bench. */
  readonly development?: boolean
  readonly counter?: number | undefined
}

export interface SignedImage {
  readonly slot: 'A' | 'B'
  readonly file: string
  readonly bytes: Uint8Array
}

export interface SignedRelease {
  /** Name of the FirmwareRelease. */
  readonly name: string
  readonly spec: FirmwareReleaseSpec
  readonly images: readonly SignedImage[]
  /** Signed with the key that everybody has. */
  readonly development: boolean
  /** Folder of the key; undefined for the development key. */
  readonly keys: string | undefined
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

/** What marks the data folder of an agent. */
const AGENT_MARKS = ['agent.db', 'agent.sock', 'secrets.key']

/** Throws SLUICE_FW_KEY_ON_GATEWAY for a private key under an agent's data folder: whoever takes the gateway has it. */
export function refuseGatewayKeys(folder: string): void {
  for (let at = resolve(folder); ; at = dirname(at)) {
    if (AGENT_MARKS.some((mark) => existsSync(join(at, mark)))) {
      throw new SluiceError('SLUICE_FW_KEY_ON_GATEWAY', `${folder} is in the data folder of an agent (${at})`, {
        hint: 'Private keys stay where releases are made. Move the folder away, and rotate the key if the gateway is not yours alone.',
      })
    }
    if (at === dirname(at)) return
  }
}

interface Signing {
  readonly keys?: string
  readonly counter?: number
}

function signingOf({ project }: Sound): Signing {
  const written = project.more['signing']
  if (written === undefined || written === null) return {}
  const { keys, counter, ...others } =
    typeof written === 'object' ? (written as Record<string, unknown>) : { '': written }
  const good =
    Object.keys(others).length === 0 &&
    (keys === undefined || typeof keys === 'string') &&
    (counter === undefined || (Number.isInteger(counter) && Number(counter) >= 1))
  if (!good)
    throw new SluiceError(
      'SLUICE_FW_PROJECT_INVALID',
      `${project.file}: signing has the fields keys (a folder) and counter`,
      {
        hint: 'Write for example signing: {keys: ~/keys/greenhouse, counter: 1}.',
      },
    )
  return {
    ...(typeof keys === 'string' ? { keys: resolve(project.folder, keys) } : {}),
    ...(typeof counter === 'number' ? { counter } : {}),
  }
}

/** Builds both variants of a project, signs them, checks them as a board would, and writes them under build/. */
export async function signProject(made: Sound, wishes: SigningWishes, signal: AbortSignal): Promise<SignedRelease> {
  const { project, board, generated } = made
  const written = signingOf(made)
  const folder = wishes.keys ?? written.keys
  const development = wishes.development === true
  if (folder === undefined && !development)
    throw new SluiceError('SLUICE_FW_KEY', 'there is no key to sign with', {
      hint: 'Make one with "sluice fw key new DIR" and give --keys DIR or signing: {keys: DIR}; --dev signs for the bench.',
    })
  if (folder !== undefined && !development) refuseGatewayKeys(folder)
  const key = development
    ? developmentKey()
    : await readPrivateKey(join(folder ?? '', wishes.next === true ? 'next.pem' : 'current.pem'))
  const own = publicKeyOf(key)
  const signer = signerOf(key, { production: !development })
  const { slotA, slotB } = board.layout
  if (!project.update || slotA === undefined || slotB === undefined)
    throw new SluiceError('SLUICE_FW_SIGN', `${board.name} has no two slots, or the project says update: false`, {
      hint: 'Such a board is flashed, not updated: sluice fw flash.',
    })
  const securityCounter = wishes.counter ?? written.counter ?? 1
  writeGenerated(made)
  const outDir = join(project.folder, 'build', board.name, 'release')
  mkdirSync(outDir, { recursive: true })
  const images: SignedImage[] = []
  const described: FirmwareReleaseSpec['images'] = []
  for (const [slot, kind, { address }] of [
    ['A', 'slotA', slotA],
    ['B', 'slotB', slotB],
  ] as const) {
    const built = await build(made, { image: kind, signal })
    const bytes = await makeImage(
      {
        payload: readFileSync(built.bin),
        version: project.version,
        securityCounter,
        board: board.name,
        slotAddress: address,
        modelHash: generated.hash,
      },
      signer,
    )
    const said = verifyImage(bytes, { keys: [own], production: !development, board: board.name, slotAddress: address })
    const file = join(outDir, `${project.name}-${formatVersion(said.version)}-${slot}.img`)
    writeFileSync(file, bytes)
    images.push({ slot, file, bytes })
    const sha256 = createHash('sha256').update(bytes).digest('hex')
    described.push({
      slot,
      slotAddress: address,
      sha256,
      digest: hex(parseImage(bytes).digest),
      sizeBytes: bytes.length,
    })
  }
  const version = formatVersion(project.version)
  const spec: FirmwareReleaseSpec = {
    model: made.model.metadata.name,
    modelHash: hex(generated.hash),
    board: board.name,
    version,
    securityCounter,
    publicKey: hex(own.raw),
    images: described,
  }
  // The digest is in the name: a version that was built anew is another release.
  const digest = createHash('sha256').update(JSON.stringify(spec)).digest('hex').slice(0, 8)
  const name = `${project.name}-${version.replace('+', '-')}-${digest}`.toLowerCase()
  writeFileSync(join(outDir, 'release.json'), `${JSON.stringify({ name, spec }, null, 2)}\n`)
  return { name, spec, images, development: own.development, keys: development ? undefined : folder }
}
