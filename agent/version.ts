/** Version of this release, told to the hub; the build holds it against package.json. */
export const AGENT_VERSION = '0.1.0'
