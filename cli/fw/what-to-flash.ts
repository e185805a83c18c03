import { readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { SluiceError } from '../../api/errors.ts'
import { fileError } from '../../firmware/project/files.ts'
import { build, writeGenerated } from '../../firmware/project/make.ts'
import { loadBoard } from '../../firmware/tools/board.ts'
import { buildBootloader } from '../../firmware/tools/bootloader.ts'
import { chipsOf, espChipNamed } from '../../firmware/tools/flash/esp-image.ts'
import type { Firmware } from '../../firmware/tools/flash/runner.ts'
import type { FlashRegion } from '../../firmware/tools/flash/uf2.ts'
import { type Image, ImageError, parseImage } from '../../firmware/tools/image.ts'
import { developmentKey, publicKeyOf, readKeys } from '../../firmware/tools/keys.ts'
import type { RunnerName } from './board-line.ts'
import type { requireProject } from './load.ts'
import { type SigningWishes, signProject } from './release.ts'

type Sound = ReturnType<typeof requireProject>

/** The board of a project, as runners compare it with what they find. */
const boardOf = ({ board }: Pick<Sound, 'board'>): Pick<Firmware, 'board' | 'processor' | 'chipId'> => ({
  board: board.name,
  ...(board.soc.cpu === undefined ? {} : { processor: board.soc.cpu }),
  ...(board.chipId === undefined ? {} : { chipId: board.chipId }),
})

/** A project's program without bootloader. */
export async function standaloneFirmware(made: Sound, signal: AbortSignal): Promise<Firmware> {
  writeGenerated(made)
  const built = await build(made, { image: 'standalone', signal })
  return { ...boardOf(made), regions: [{ address: built.address, bytes: readFileSync(built.bin) }], images: [] }
}

/** A project's signed images; with `boot` also its bootloader and the first image as bytes for addresses. */
export async function managedFirmware(
  made: Sound,
  wishes: SigningWishes,
  boot: boolean,
  signal: AbortSignal,
): Promise<Firmware> {
  const release = await signProject(made, wishes, signal)
  const images = release.images.map(({ bytes }) => bytes)
  if (!boot) return { ...boardOf(made), regions: [], images }
  const known = release.keys === undefined ? undefined : await readKeys(release.keys)
  const loader = await buildBootloader({
    board: made.board,
    keys:
      known === undefined
        ? [publicKeyOf(developmentKey())]
        : [known.current, ...(known.next === undefined ? [] : [known.next])],
    production: known !== undefined,
    outDir: join(made.project.folder, 'build', made.board.name, 'boot'),
    signal,
  })
  const slot = release.spec.images.find((image) => image.slot === 'A')
  const first = release.images.find((image) => image.slot === 'A')
  const regions = [
    { address: loader.address, bytes: readFileSync(loader.bin) },
    { address: slot?.slotAddress ?? 0, bytes: first?.bytes ?? new Uint8Array() },
  ]
  return { ...boardOf(made), regions, images }
}

interface GivenFile {
  readonly file: string
  readonly address: number | undefined
  readonly bytes: Uint8Array
}

const wrong = (message: string, hint: string): SluiceError =>
  new SluiceError('SLUICE_FW_FLASH_IMAGE', message, { hint })

function readGiven(text: string): GivenFile {
  const [, file = '', place] = /^(.*?)(?:@(0x[0-9a-f]{1,8}|\d{1,10}))?$/i.exec(text) ?? []
  const address = place === undefined ? undefined : Number(place)
  if (address !== undefined && address > 0xffff_ffff)
    throw wrong(`${text}: an address has at most 32 bits`, 'Write for example app.bin@0x10000.')
  try {
    const bytes = new Uint8Array(readFileSync(file))
    if (bytes.length === 0) throw wrong(`${file} is empty`, 'Build it again.')
    return { file, address, bytes }
  } catch (cause) {
    throw cause instanceof SluiceError ? cause : fileError(file, cause)
  }
}

/** Ready files instead of a project: `FILE@ADDRESS`, signed images for SMP. `board` where the files do not say theirs. */
export function givenFirmware(files: readonly string[], runner: RunnerName, board: string | undefined): Firmware {
  const given = files.map(readGiven)
  if (runner === 'smp') return signedFirmware(given, board)
  const regions = given.map(({ file, address, bytes }): FlashRegion => {
    if (address === undefined && (runner !== 'esp' || given.length > 1))
      throw wrong(`${file}: where does it go?`, `Write its address behind it: ${basename(file)}@0x10000.`)
    return { address: address ?? 0, bytes }
  })
  if (runner === 'esp') return { board: espChip(regions, board), regions, images: [] }
  if (board === undefined)
    throw wrong('which board are these files for?', 'Name it, so that another one is refused: --board rp2040.')
  return { ...boardOf({ board: loadBoard(board) }), regions, images: [] }
}

function espChip(regions: readonly FlashRegion[], named: string | undefined): string {
  const said = chipsOf(regions)
  const wanted = named === undefined ? undefined : espChipNamed(named)
  if (named !== undefined && wanted === undefined)
    throw wrong(`'${named}' is no chip of Espressif's that is known here`, 'Write for example --board esp32c3.')
  if (said.length > 1) throw wrong(`these images are for ${said.join(' and ')}`, 'Flash images of one chip at a time.')
  if (wanted !== undefined && said[0] !== undefined && said[0] !== wanted)
    throw wrong(`this image is for ${said[0]}, not for ${wanted}`, 'Build it for this chip.')
  const chip = said[0] ?? wanted
  if (chip === undefined)
    throw wrong(
      'no image in these files says which chip it is for',
      'Give the address it belongs to (app.bin@0x10000), or name the chip: --board esp32c3.',
    )
  return chip
}

function signedFirmware(given: readonly GivenFile[], board: string | undefined): Firmware {
  const images = given.map(imageOf)
  const boards = new Set(images.map((image) => image.board))
  const [only] = boards
  if (boards.size > 1)
    throw wrong(`these images are for ${[...boards].join(' and ')}`, 'Give the images of one release.')
  const name = board === undefined ? only : loadBoard(board).name
  if (name === undefined || (only !== undefined && only !== name))
    throw wrong(
      only === undefined ? 'the image does not say which board it is for' : `the image is for ${only}, not for ${name}`,
      'Name the board with --board; with imgtool: --custom-tlv 0xa1 and the name of the board.',
    )
  // What lies behind an image (the trailer of a slot that imgtool --pad adds) is the bootloader's own.
  return { board: name, regions: [], images: given.map(({ bytes }, index) => bytes.subarray(0, images[index]?.size)) }
}

function imageOf({ file, bytes }: GivenFile): Image {
  try {
    return parseImage(bytes)
  } catch (error) {
    if (!(error instanceof ImageError)) throw error
    throw new ImageError(error.refusal, `${file}: ${error.message}`, error.hint ?? '')
  }
}
