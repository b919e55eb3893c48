/* What libglorext shows to those who link it. */
#pragma once

#define GLOREXT_API __attribute__((visibility("default")))
