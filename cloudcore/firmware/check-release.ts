import { toSluiceError } from '../../api/errors.ts'
import type { FirmwareReleaseSpec, FirmwareReleaseStatus } from '../../api/resources.ts'
import { compareVersions, parseVersion } from '../../firmware/tools/image.ts'
import { publicKeyObject, publicKeyOf } from '../../firmware/tools/keys.ts'
import { verifyImage } from '../../firmware/tools/sign.ts'
import type { ImageFolder } from './image-folder.ts'

/** Whether a release is what it says: every image there, for its board, model and slot, and signed with its key. */
export async function checkRelease(spec: FirmwareReleaseSpec, images: ImageFolder): Promise<FirmwareReleaseStatus> {
  const key = publicKeyOf(publicKeyObject({ raw: Buffer.from(spec.publicKey, 'hex'), development: false }))
  for (const image of spec.images) {
    if (!images.has(image.sha256))
      return { state: 'Incomplete', message: `the bytes for slot ${image.slot} are missing` }
    try {
      const said = verifyImage(await images.read(image.sha256), {
        keys: [key],
        production: false,
        board: spec.board,
        slotAddress: image.slotAddress,
        modelHash: Buffer.from(spec.modelHash, 'hex'),
      })
      const digest = Buffer.from(said.digest).toString('hex')
      if (digest !== image.digest) return invalid(image.slot, 'its digest is another one')
      if (compareVersions(said.version, parseVersion(spec.version)) !== 0) return invalid(image.slot, 'another version')
      if (said.securityCounter !== spec.securityCounter) return invalid(image.slot, 'another security counter')
    } catch (thrown) {
      return invalid(image.slot, toSluiceError(thrown).message)
    }
  }
  return { state: 'Ready', message: key.development ? 'signed with the development key' : '' }
}

const invalid = (slot: string, why: string): FirmwareReleaseStatus => ({
  state: 'Invalid',
  message: `the image for slot ${slot}: ${why}`.slice(0, 1024),
})
