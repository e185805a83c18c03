/** What may be behind an adapter, and what to type to find out. */
export interface Behind {
  readonly what: string
  next(path: string): string
}

/** What an adapter says of itself. */
export interface UsbIdentity {
  readonly vendorId: string
  readonly productId: string
  readonly vendor: string | undefined
  readonly product: string | undefined
}

const modbus = (path: string) => `sluice discover modbus --port ${path}`

const line: Behind = { what: 'a serial line: RS-485 or RS-232, often Modbus RTU', next: modbus }
const zigbee: Behind = {
  what: 'a Zigbee radio',
  next: (path) => `run Zigbee2MQTT with serial.port ${path}, and its devices are discovered over MQTT`,
}
const board: Behind = {
  what: 'a micro-controller board, or a device that is one',
  next: modbus,
}
const modem: Behind = { what: 'a mobile modem', next: () => 'nothing to do: it belongs to the network manager' }
const probe: Behind = {
  what: 'a debug probe with the serial port of the board on it',
  next: modbus,
}

/** By what the product calls itself: several radios share the chips of ordinary adapters. */
const BY_NAME: readonly (readonly [RegExp, Behind])[] = [
  [/zigbee|conbee|raspbee|zzh|slaesh|skyconnect|zbt-1|cc2531|cc2652/i, zigbee],
  [
    /z-?wave|zooz|aeotec/i,
    { what: 'a Z-Wave radio', next: (path) => `run Z-Wave JS UI with ${path}, and use its MQTT gateway` },
  ],
  [
    /hci|bluetooth/i,
    { what: 'a Bluetooth radio with an HCI UART', next: (path) => `name it as the adapter of BLE devices: ${path}` },
  ],
  [/\bgnss\b|\bgps\b|u-blox/i, { what: 'a satellite receiver', next: () => 'nothing to do: gpsd reads it' }],
]

/** By USB vendor and product (the USB ID repository); a vendor alone stands for all its products. */
const BY_ID: Readonly<Record<string, Behind>> = {
  // Plain UART chips: FTDI, WCH, Silicon Labs, Prolific, Microchip, Moxa, Exar.
  '0403': line,
  '1a86': line,
  '10c4': line,
  '067b': line,
  '04d8:00dd': line,
  '110a': line,
  '04e2': line,
  // Dresden Elektronik, Texas Instruments CC2531.
  '1cf1': zigbee,
  '0451:16a8': zigbee,
  // Arduino, Raspberry Pi, Espressif, Adafruit, ST's virtual port, Nordic.
  '2341': board,
  '2a03': board,
  '2e8a': board,
  '303a': board,
  '239a': board,
  '0483:5740': board,
  '1915': board,
  // Arm DAPLink (micro:bit), SEGGER J-Link, ST-LINK.
  '0d28': probe,
  '1366': probe,
  '0483:374b': probe,
  // Huawei, Quectel, Sierra, SIMCom, Telit.
  '12d1': modem,
  '2c7c': modem,
  '1199': modem,
  '1e0e': modem,
  '1bc7': modem,
}

/** The best guess; a serial line where nothing is known. */
export function guessBehind({ vendorId, productId, vendor, product }: UsbIdentity): Behind {
  const said = `${vendor ?? ''} ${product ?? ''}`
  const byName = BY_NAME.find(([pattern]) => pattern.test(said))?.[1]
  const id = vendorId.toLowerCase()
  return byName ?? BY_ID[`${id}:${productId.toLowerCase()}`] ?? BY_ID[id] ?? line
}
