/** The four tables of the Modbus data model (Application Protocol V1.1b3, section 4.3). */
export const TABLES = ['coil', 'discrete', 'input', 'holding'] as const

export type Table = (typeof TABLES)[number]

/** The function that reads each table. */
export const READ_FUNCTION = { coil: 1, discrete: 2, holding: 3, input: 4 } as const
