/** Where a device's address may stand; known without the schema and its library. */
export const TRANSPORTS = ['rtu', 'tcp', 'rtuOverTcp', 'ascii'] as const
