import type { Pairing } from '../transport.ts'
import { DbusRefusal } from './dbus-connection.ts'
import type { DbusMessage } from './dbus-message.ts'
import type { DbusValue } from './dbus-values.ts'
import { AGENT } from './names.ts'

/** Where BlueZ finds our agent. */
export const AGENT_PATH = '/dev/sluice/agent'
/** With a passkey in a file we can type one; without, there is nobody to look at numbers. */
export const AGENT_CAPABILITY = 'KeyboardOnly'

const REJECTED = 'org.bluez.Error.Rejected'
const NOTHING = {}

/**
 * Answers BlueZ while a device is paired. It says yes only to devices that we are pairing with at that moment: whoever
 * else asks is refused, so that nobody gets a bond with this gateway by asking for one.
 */
export class BluezAgent {
  readonly #expected = new Map<string, Pairing>()

  expect(path: string, pairing: Pairing): Disposable {
    this.#expected.set(path, pairing)
    return { [Symbol.dispose]: () => void this.#expected.delete(path) }
  }

  /** @throws DbusRefusal for what is not expected. */
  answer(call: DbusMessage): { readonly signature?: string; readonly body?: readonly DbusValue[] } {
    if (call.interface !== undefined && call.interface !== AGENT) throw new DbusRefusal(REJECTED, 'not our interface')
    const pairing = this.#expected.get(String(call.body[0] ?? ''))
    switch (call.member) {
      case 'Release':
      case 'Cancel':
        return NOTHING
      case 'RequestPasskey':
        if (pairing?.passkey === undefined) throw new DbusRefusal(REJECTED, 'no passkey is known')
        return { signature: 'u', body: [pairing.passkey] }
      case 'RequestPinCode':
        if (pairing?.passkey === undefined) throw new DbusRefusal(REJECTED, 'no passkey is known')
        return { signature: 's', body: [String(pairing.passkey).padStart(6, '0')] }
      case 'RequestConfirmation':
        if (pairing === undefined || (pairing.passkey ?? call.body[1]) !== call.body[1]) {
          throw new DbusRefusal(REJECTED, 'not the number we expect')
        }
        return NOTHING
      case 'RequestAuthorization':
      case 'DisplayPasskey':
      case 'DisplayPinCode':
        // Nobody sees a display; and with a passkey that is to be checked, a pairing without one is not good enough.
        if (pairing === undefined || pairing.passkey !== undefined) throw new DbusRefusal(REJECTED, 'not expected')
        return NOTHING
      default:
        throw new DbusRefusal(REJECTED, 'not expected')
    }
  }
}
