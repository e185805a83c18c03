import { createPublicKey, type KeyObject, sign } from 'node:crypto'
import { bitString, objectIdentifier, sequence, setOf, smallInteger, tagged, utf8String } from './der.ts'

const COMMON_NAME = '2.5.4.3'
/** RFC 5758, section 3.2. */
const ECDSA_WITH_SHA256 = '1.2.840.10045.4.3.2'
/** Upper bound of a common name: RFC 5280, appendix A.1, ub-common-name. */
const MAX_COMMON_NAME = 64

/**
 * A PKCS#10 certificate request (RFC 2986) in PEM for an EC private key, with the subject `CN=<commonName>` and no
 * attributes. The name is cut to the 64 characters X.509 allows: the hub takes the gateway's name from the token.
 */
export function certificateRequest(privateKey: KeyObject, commonName: string): string {
  const publicKey = createPublicKey(privateKey).export({ type: 'spki', format: 'der' })
  const name = sequence(
    setOf(sequence(objectIdentifier(COMMON_NAME), utf8String(commonName.slice(0, MAX_COMMON_NAME)))),
  )
  const noAttributes = tagged(0xa0)
  const info = sequence(smallInteger(0), name, publicKey, noAttributes)
  const signature = sign('sha256', info, privateKey)
  const request = sequence(info, sequence(objectIdentifier(ECDSA_WITH_SHA256)), bitString(signature))
  const lines = request.toString('base64').match(/.{1,64}/g) ?? []
  return `-----BEGIN CERTIFICATE REQUEST-----\n${lines.join('\n')}\n-----END CERTIFICATE REQUEST-----\n`
}
