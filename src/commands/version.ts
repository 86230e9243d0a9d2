import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { packageRoot } from '../../bindings/index.js'

/** As package.json has it. */
export const version = (): string => (JSON.parse(readFileSync(join(packageRoot, 'package.json'), 'utf8')) as { version: string }).version
