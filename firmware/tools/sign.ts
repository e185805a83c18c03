import { createHash, type KeyObject, sign, verify } from 'node:crypto'
import { SluiceError } from '../../api/errors.ts'
import {
  compareVersions,
  formatVersion,
  type Image,
  ImageError,
  type ImageSigner,
  type ImageVersion,
  parseImage,
} from './image.ts'
import { keyHash, type PublicKey, publicKeyObject, publicKeyOf } from './keys.ts'

/**
 * Signing and checking of images. What `verifyImage` accepts, a bootloader with the same keys and facts accepts, and the
 * other way round; a gateway calls it before it sends anything to a board.
 */

/** A signer over a private key in memory. For a production board the development key is refused. */
export function signerOf(key: KeyObject, options: { readonly production: boolean }): ImageSigner {
  const own = publicKeyOf(key)
  if (options.production && own.development) {
    throw new SluiceError('SLUICE_FW_DEV_KEY', 'the development key signs nothing for a production board', {
      hint: 'Make a key of your own with "sluice fw key new" and give its folder with --keys.',
    })
  }
  return { keyHash: keyHash(own), sign: (digest) => Promise.resolve(sign(null, digest, key)) }
}

export interface ImageExpectations {
  /** Keys of the board's bootloader: current, and next where there is one. */
  readonly keys: readonly PublicKey[]
  /** The board refuses the development key. */
  readonly production: boolean
  /** Where given, the image has to be for this board. */
  readonly board?: string
  /** Where given, the image has to be linked for this slot. */
  readonly slotAddress?: number
  /** Where given, the image's security counter may not be below it. */
  readonly securityCounter?: number
  /** Where given, the image may not be older than this version. */
  readonly version?: ImageVersion
  /** Where given, the image has to carry this model hash (8 bytes). */
  readonly modelHash?: Uint8Array
}

const same = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0
const hex = (value: number | undefined): string => (value === undefined ? 'none' : `0x${value.toString(16)}`)

/**
 * Checks an image as the board's bootloader will, in the same order. Throws an `ImageError` with the refusal; gives what
 * the image says of itself when it passes.
 */
export function verifyImage(bytes: Uint8Array, expected: ImageExpectations): Image {
  const image = parseImage(bytes)
  checkPlace(image, expected)
  const digest = createHash('sha256').update(bytes.subarray(0, image.signedBytes)).digest()
  if (!same(digest, image.digest))
    throw new ImageError('digest', 'the image does not match its SHA-256', 'It was damaged on its way; copy it again.')
  const key = expected.keys.find((candidate) => same(keyHash(candidate), image.keyHash))
  if (key === undefined)
    throw new ImageError(
      'key',
      'the image is signed with a key the board does not know',
      'Sign it with the current or the next key of these boards.',
    )
  if (expected.production && key.development)
    throw new ImageError(
      'development-key',
      'the image is signed with the development key',
      'Production boards refuse it: sign with a key of your own.',
    )
  if (!verify(null, image.digest, publicKeyObject(key), image.signature))
    throw new ImageError(
      'signature',
      'the signature does not fit the image',
      'Somebody changed it after it was signed, or it was damaged.',
    )
  return image
}

function checkPlace(image: Image, expected: ImageExpectations): void {
  const { board, slotAddress, securityCounter } = image
  if (board === undefined || slotAddress === undefined || securityCounter === undefined)
    throw new ImageError(
      'tlv',
      'the image does not say its board, its slot or its security counter',
      'With imgtool: --security-counter, --rom-fixed, and --custom-tlv 0xa1 with the name of the board.',
    )
  if (expected.board !== undefined && board !== expected.board)
    throw new ImageError('board', `the image is for ${board}, not for ${expected.board}`, 'Build it for this board.')
  if (expected.slotAddress !== undefined && slotAddress !== expected.slotAddress)
    throw new ImageError(
      'slot',
      `the image runs at ${hex(slotAddress)}, this slot is at ${hex(expected.slotAddress)}`,
      'Send the variant of the release that is linked for the other slot.',
    )
  if (expected.securityCounter !== undefined && securityCounter < expected.securityCounter)
    throw new ImageError(
      'rollback',
      `security counter ${securityCounter} is below ${expected.securityCounter}, which this board has confirmed`,
      'Build a release with a counter at least as high.',
    )
  if (expected.version !== undefined && compareVersions(image.version, expected.version) < 0)
    throw new ImageError(
      'downgrade',
      `version ${formatVersion(image.version)} is older than ${formatVersion(expected.version)}, which runs`,
      'Release it again under a higher version.',
    )
  const model = image.modelHash
  if (expected.modelHash !== undefined && (model === undefined || !same(model, expected.modelHash)))
    throw new SluiceError('SLUICE_FW_MODEL', 'the image was built from another device model', {
      hint: 'Build it from the model that the gateway has, or give the gateway the model of this firmware.',
    })
}
